import { answer } from "../aside.ts";
import { colour } from "./colours.ts";

answer(globalThis, colour);
