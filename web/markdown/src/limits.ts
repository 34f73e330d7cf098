/** Bounds of what one construct may take. They are part of the grammar: streamed or not, a text is read with the same ones. */
export interface Limits {
  /** UTF-16 units of a line that is looked at as a whole (rules, fences, table rows, definitions); a longer line is text. */
  readonly line: number;
  /** Quotes, lists, items and footnotes inside one another; markers beyond are text. */
  readonly depth: number;
  /** Columns of a table; a wider one is text. */
  readonly columns: number;
  /** UTF-16 units of inline text that are read together: emphasis or a link does not reach across more than half of it. */
  readonly window: number;
  /** UTF-16 units of a formula, TeX. */
  readonly formula: number;
  /** Link definitions and footnotes of one text; those beyond are text. */
  readonly definitions: number;
  /** UTF-16 units of a code block that is coloured; a longer one stays plain. */
  readonly highlight: number;
  /** UTF-16 units of one DOM text node of a code block: what one append may copy. */
  readonly textNode: number;
}

export const LIMITS: Limits = {
  line: 8192,
  depth: 24,
  columns: 64,
  window: 4096,
  formula: 4096,
  definitions: 1000,
  highlight: 16_384,
  textNode: 4096,
};
