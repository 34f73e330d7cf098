import { Aside } from "./aside.ts";
import type { Code, Coloured } from "./code/colours.ts";
import { SelectionWatch } from "./code/selection.ts";
import type { Formula, MathTree } from "./math/trees.ts";

/** What all views of a page share: what is done aside from its thread, and where its selection is. */
export interface Asides {
  readonly colours: Aside<Code, readonly Coloured[] | null>;
  readonly formulas: Aside<Formula, MathTree | null>;
  readonly selection: SelectionWatch;
}

/** A page that shows many answers has one worker of each kind, not one for each answer. */
const OF_PAGE = new WeakMap<Document, Asides>();

export function asidesOf(document: Document): Asides {
  const known = OF_PAGE.get(document);
  if (known !== undefined) return known;
  const asides: Asides = {
    // Bundlers look for exactly this form.
    colours: new Aside(
      () => new Worker(new URL("./code/worker.js", import.meta.url), { type: "module" }),
      async () => (await import("./code/colours.ts")).colour,
    ),
    formulas: new Aside(
      () => new Worker(new URL("./math/worker.js", import.meta.url), { type: "module" }),
      async () => (await import("./math/trees.ts")).setFormula,
    ),
    selection: new SelectionWatch(document),
  };
  OF_PAGE.set(document, asides);
  return asides;
}
