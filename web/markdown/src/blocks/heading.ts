import type { BlockSink } from "./block.ts";

/** The open heading: holds back what could be its closing `#`s (CommonMark 4.2). */
export class Heading<H> {
  readonly type = "heading";
  readonly #sink: BlockSink<H>;
  readonly #leaf: H;
  #held = "";
  #isBegun = false;

  constructor(sink: BlockSink<H>, leaf: H, text: string) {
    this.#sink = sink;
    this.#leaf = leaf;
    this.grow(text);
  }

  grow(text: string): void {
    const all = this.#held + text;
    const closing = /[ \t]*#*[ \t]*$/.exec(all.slice(-256));
    const length = closing?.[0].length ?? 0;
    const end = length < 256 ? all.length - length : all.length;
    this.#give(all.slice(0, end));
    this.#held = all.slice(end);
  }

  /** Closing marks need a blank before them, or stand alone. */
  endLine(): void {
    const isClosing = !this.#isBegun || /^[ \t]/.test(this.#held);
    if (!isClosing) this.#give(this.#held.trimEnd());
    this.#held = "";
  }

  close(): void {
    this.endLine();
    this.#sink.close(this.#leaf, true);
  }

  #give(text: string): void {
    if (text === "") return;
    this.#isBegun = true;
    this.#sink.append(this.#leaf, text);
  }
}
