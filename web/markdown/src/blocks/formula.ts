import type { Limits } from "../limits.ts";
import type { BlockSink } from "./block.ts";
import { Paragraph } from "./paragraph.ts";

/** The open formula. Nothing of it is given on before its end, since without one it is the text of a paragraph. */
export class Formula<H> {
  readonly #sink: BlockSink<H>;
  readonly #parent: H;
  readonly #limits: Limits;
  readonly #open: string;
  #text: string;

  constructor(sink: BlockSink<H>, parent: H, limits: Limits, end: string, text: string) {
    this.#sink = sink;
    this.#parent = parent;
    this.#limits = limits;
    this.#open = end === "$$" ? end : "\\[";
    this.#text = text;
  }

  get isTooLong(): boolean {
    return this.#text.length > this.#limits.formula;
  }

  addLine(text: string): void {
    this.#text += `${text}\n`;
  }

  finish(text: string): void {
    const leaf = this.#sink.open(this.#parent, { type: "formula" });
    this.#sink.append(leaf, (this.#text + text).trim());
    this.#sink.close(leaf, true);
  }

  /** It has no end: return the paragraph that it is. */
  giveUp(): Paragraph<H> {
    const paragraph = new Paragraph(this.#sink, this.#parent, null, this.#limits);
    paragraph.addLine(this.#open + this.#text.trimEnd());
    return paragraph;
  }
}
