import type { Highlighter } from "../code/highlighter.ts";
import type { Limits } from "../limits.ts";
import type { Formulas } from "../math/formulas.ts";
import type { Labels } from "../options.ts";
import type { Work } from "../work.ts";
import type { Footnotes } from "./footnotes.ts";
import type { References } from "./references.ts";

/** What drawing needs, of one view. */
export interface Tools {
  readonly document: Document;
  readonly limits: Limits;
  readonly labels: Labels;
  readonly math: boolean;
  readonly work: Work;
  readonly references: References;
  readonly footnotes: Footnotes;
  /** Null: code stays plain. */
  readonly highlighter: Highlighter | null;
  /** Null: formulas are not read. */
  readonly formulas: Formulas | null;
}

/** Make an element, with a class and attributes. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tools: Tools,
  tag: K,
  className = "",
  attributes: Readonly<Record<string, string>> = {},
): HTMLElementTagNameMap[K] {
  const element = tools.document.createElement(tag);
  if (className !== "") element.className = className;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  tools.work.nodes += 1;
  return element;
}
