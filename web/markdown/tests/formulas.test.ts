// @vitest-environment jsdom
import { expect, test } from "vitest";
import { Aside } from "../src/aside.ts";
import { Jobs } from "../src/jobs.ts";
import { Formulas } from "../src/math/formulas.ts";
import type { Formula, MathTree } from "../src/math/trees.ts";

/** Formulas whose answers and waits are let go by hand. */
function stage() {
  const answers: { resolve: (tree: MathTree | null) => void; reject: (error: unknown) => void }[] = [];
  const waits: { ms: number; then: () => void; isOver: boolean }[] = [];
  const errors: unknown[] = [];
  const load = async () => (_: Formula) =>
    new Promise<MathTree | null>((resolve, reject) => answers.push({ resolve, reject }));
  const aside = new Aside<Formula, MathTree | null>(() => {
    throw new Error("no worker");
  }, load);
  const jobs = new Jobs(() => {});
  const wait = (ms: number, then: () => void) => {
    const entry = { ms, then, isOver: false };
    waits.push(entry);
    return () => {
      entry.isOver = true;
    };
  };
  const formulas = new Formulas(aside, jobs, wait, (error) => errors.push(error));
  const root = document.createElement("p");
  const code = document.createElement("code");
  code.className = "md-tex";
  root.append(code);
  const set: Element[] = [];
  formulas.set(code, "x^2", false, (math) => set.push(math));
  return { answers, waits, errors, jobs, root, code, set, formulas };
}

const settled = () => new Promise<void>((done) => setTimeout(done, 0));

const SQUARE: MathTree = {
  name: "math",
  attributes: { display: "inline", href: "javascript:alert(1)", onclick: "alert(1)" },
  style: { width: "1em", background: "url(//x.invalid)", "font-weight": "bold" },
  inner: [{ name: "mi", attributes: { id: "x" }, style: {}, inner: ["x"] }],
};

test("a formula that is waited for has its place, and shows nothing", async () => {
  const { code, waits } = stage();
  await settled();
  expect(code.classList.contains("md-pending")).toBe(true);
  expect(code.textContent).toBe("");
  expect(waits.map(({ ms }) => ms)).toEqual([2000]);
});

test("a formula that is set takes the place, with what is listed and no more", async () => {
  const { answers, jobs, root, set, waits } = stage();
  await settled();
  answers[0]?.resolve(SQUARE);
  await settled();
  jobs.runOne();
  const math = root.firstElementChild;
  expect(math?.outerHTML).toBe('<math display="inline"><mi>x</mi></math>');
  expect(set).toEqual([math]);
  expect(waits[0]?.isOver).toBe(true);
});

test("TeX is shown when setting it takes too long, and set all the same when that is done", async () => {
  const { answers, jobs, root, code, waits } = stage();
  await settled();
  waits[0]?.then();
  expect(code.className).toBe("md-tex");
  expect(code.textContent).toBe("x^2");
  answers[0]?.resolve(SQUARE);
  await settled();
  jobs.runOne();
  expect(root.firstElementChild?.localName).toBe("math");
});

test("TeX is shown when nothing can be made of it", async () => {
  const { answers, jobs, code, errors } = stage();
  await settled();
  answers[0]?.resolve(null);
  await settled();
  jobs.runOne();
  expect(code.textContent).toBe("x^2");
  expect(code.className).toBe("md-tex");
  expect(errors).toEqual([]);
});

test("TeX is shown at once when what sets it cannot be loaded, which is told once", async () => {
  const { answers, code, errors, formulas } = stage();
  const other = document.createElement("code");
  formulas.set(other, "y", false, () => {});
  await settled();
  for (const { reject } of answers) reject(new Error("not loaded"));
  await settled();
  expect([code.textContent, other.textContent]).toEqual(["x^2", "y"]);
  expect(errors).toEqual([new Error("not loaded")]);
});

test("temml's trees are drawn whole: each element and attribute that they use is let through", async () => {
  const { setFormula } = await import("../src/math/trees.ts");
  const { mathElement } = await import("../src/math/mathml.ts");
  const tex =
    "\\begin{pmatrix} \\frac{a}{b} & \\sqrt[3]{x_1^2} \\\\ \\hat{y} & \\sum\\limits_{i=1}^n \\text{if } i \\end{pmatrix}";
  const tree = setFormula({ tex, isDisplay: true });
  expect(tree).not.toBeNull();
  const math = tree === null ? null : mathElement(document, tree);
  expect(math?.getAttribute("display")).toBe("block");
  for (const name of ["mtable", "mtr", "mtd", "mfrac", "mroot", "msubsup", "mover", "munderover", "mtext"])
    expect(math?.querySelector(name), name).not.toBeNull();
  expect(setFormula({ tex: "\\nosuchcommand{", isDisplay: false })).toBeNull();
});
