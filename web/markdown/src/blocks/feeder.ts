import type { Limits } from "../limits.ts";
import type { BlockParser } from "./parser.ts";

/** Cuts text into lines for the parser, and begins the last line as soon as it is decided. */
export class Feeder<H> {
  readonly #parser: BlockParser<H>;
  readonly #limits: Limits;
  /** Of the line that is not begun yet. */
  #rest = "";
  #isBegun = false;

  constructor(parser: BlockParser<H>, limits: Limits) {
    this.#parser = parser;
    this.#limits = limits;
  }

  push(text: string): void {
    let at = 0;
    while (at < text.length) {
      const end = text.indexOf("\n", at);
      this.#add(text.slice(at, end < 0 ? text.length : end), end >= 0);
      at = end < 0 ? text.length : end + 1;
    }
  }

  /** The text is over: its last line needs no line end. */
  close(): void {
    this.#endRest();
    this.#parser.close();
  }

  /**
   * The text breaks off here: of a last line that is not begun, what `shownOf` makes of it is taken; blocks that have said
   * nothing yet are taken back. `onLast` is called before what is open is closed.
   */
  cut(shownOf: (line: string) => string, onLast: () => void): void {
    this.#rest = shownOf(this.#rest);
    this.#endRest();
    onLast();
    this.#parser.cut();
  }

  #endRest(): void {
    if (this.#rest !== "") this.#add("", true);
  }

  #add(text: string, isWhole: boolean): void {
    if (this.#isBegun) {
      if (text !== "") this.#parser.grow(text);
      if (isWhole) this.#endLine();
      return;
    }
    this.#rest += text;
    if (this.#rest.length > this.#limits.line) this.#beginLong(isWhole);
    else if (isWhole) {
      this.#parser.line(this.#take());
    } else if (this.#parser.tryBegin(this.#rest)) {
      this.#take();
      this.#isBegun = true;
    }
  }

  /** A long line is always begun with as much of it, so that it is read alike however it came. */
  #beginLong(isWhole: boolean): void {
    const line = this.#take();
    const cut = this.#limits.line + 1;
    this.#parser.tryBegin(line.slice(0, cut));
    this.#isBegun = true;
    this.#add(line.slice(cut), isWhole);
  }

  #endLine(): void {
    this.#parser.endLine();
    this.#isBegun = false;
  }

  #take(): string {
    const rest = this.#rest;
    this.#rest = "";
    return rest;
  }
}
