import { answer } from "../aside.ts";
import { setFormula } from "./trees.ts";

answer(globalThis, setFormula);
