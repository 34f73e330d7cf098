import type { Align, Block } from "./block.ts";

/** A container or leaf that is open, with what reading needs to know of it. */
export type Frame =
  | { readonly type: "document" | "quote" | "footnote" | "paragraph" | "table" }
  | { readonly type: "list"; readonly marker: string }
  | { readonly type: "item"; readonly indent: number; readonly isEmpty: boolean }
  | { readonly type: "fence"; readonly mark: string; readonly length: number; readonly indent: number }
  | { readonly type: "indented" }
  | { readonly type: "formula"; readonly end: string };

/** What a line does with the leaf it ends in. */
export type Leaf =
  | { readonly type: "blank" }
  | { readonly type: "paragraph"; readonly text: string }
  | { readonly type: "continue"; readonly text: string }
  | { readonly type: "heading"; readonly level: number; readonly text: string }
  | { readonly type: "underline"; readonly level: number }
  | { readonly type: "rule" }
  | {
      readonly type: "fence";
      readonly mark: string;
      readonly length: number;
      readonly indent: number;
      readonly info: string;
    }
  | { readonly type: "indented"; readonly text: string }
  | { readonly type: "formula"; readonly end: string; readonly text: string; readonly isWhole: boolean }
  | { readonly type: "verbatim"; readonly text: string }
  | { readonly type: "close"; readonly text: string }
  | { readonly type: "columns"; readonly columns: readonly Align[] }
  | { readonly type: "row"; readonly text: string };

/** What a line means, decided before anything is done. */
export interface Plan {
  /** How many of the open blocks go on. */
  readonly kept: number;
  /** Containers that begin on this line, outermost first. */
  readonly opened: readonly Block[];
  readonly leaf: Leaf;
}
