/** What the text is made of. Containers hold blocks; the rest are leaves, which hold text. */
export type Block =
  | { readonly type: "document" }
  | { readonly type: "quote" }
  | { readonly type: "list"; readonly marker: string; readonly start: number | null }
  | { readonly type: "item"; readonly indent: number }
  | { readonly type: "footnote"; readonly label: string }
  | { readonly type: "paragraph"; readonly task: boolean | null }
  | { readonly type: "heading"; readonly level: number }
  | { readonly type: "rule" }
  | { readonly type: "code"; readonly language: string }
  | { readonly type: "formula" }
  | { readonly type: "table"; readonly columns: readonly Align[] };

export type Align = "left" | "center" | "right" | null;

/** Where a link definition leads. */
export interface Target {
  readonly href: string;
  readonly title: string | null;
}

/**
 * What draws blocks as they are found. `H` is its own handle of a block.
 *
 * Blocks are opened in the order of the text, and closed inside out; text is only ever appended, save by `retract`.
 */
export interface BlockSink<H> {
  open(parent: H, block: Block): H;
  append(leaf: H, text: string): void;
  /** Take back the last units of a paragraph; at most `Limits.window / 2` of them. */
  retract(paragraph: H, units: number): void;
  /** The paragraph is a heading after all (its underline has come). */
  promote(paragraph: H, level: number): H;
  /** A formula was begun; nothing of it is given on before its end. */
  expectFormula(): void;
  row(table: H, cells: readonly string[]): void;
  /** Items of the list stand apart. */
  loosen(list: H): void;
  define(label: string, target: Target): void;
  /** `isWhole`: the block's own end was seen (a closing fence). */
  close(block: H, isWhole: boolean): void;
  remove(block: H): void;
}
