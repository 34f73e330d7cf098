import type { BlockSink } from "./block.ts";

/** The open code block. Blank lines at the end of an indented one are no part of it (CommonMark 4.4). */
export class Code<H> {
  readonly #sink: BlockSink<H>;
  readonly #leaf: H;
  readonly #isFenced: boolean;
  /** Blank lines that are part of it only if more code follows. */
  #blank = "";
  /** The line, as long as it is blank; null once it has code. */
  #line: string | null = "";
  /** Whether no line of it was begun. */
  isEmpty = true;

  constructor(sink: BlockSink<H>, leaf: H, isFenced: boolean) {
    this.#sink = sink;
    this.#leaf = leaf;
    this.#isFenced = isFenced;
  }

  /** Take the begin of a line, or a whole one. */
  addLine(text: string): void {
    this.isEmpty = false;
    this.#line = "";
    this.grow(text);
  }

  grow(text: string): void {
    if (this.#isFenced) {
      this.#sink.append(this.#leaf, text);
      return;
    }
    const line = (this.#line ?? "") + text;
    if (this.#line !== null && line.trim() === "") {
      this.#line = line;
      return;
    }
    this.#sink.append(this.#leaf, this.#blank + line);
    this.#blank = "";
    this.#line = null;
  }

  endLine(): void {
    if (this.#isFenced) this.#sink.append(this.#leaf, "\n");
    else this.#blank += `${this.#line ?? ""}\n`;
    this.#line = "";
  }

  close(isWhole: boolean): void {
    if (!this.#isFenced) this.#sink.append(this.#leaf, "\n");
    this.#sink.close(this.#leaf, isWhole || !this.#isFenced);
  }
}
