import { GraphemeGate, safePrefix } from "./graphemes.ts";

/** Text that was written and is not drawn yet, given out in steps that end between graphemes. */
export class Backlog {
  readonly #step: number;
  readonly #gate = new GraphemeGate();
  #parts: string[] = [];
  /** The part being given out, and how far. */
  #text = "";
  #at = 0;

  /** `step`: units given out at once, about. */
  constructor(step: number) {
    this.#step = step;
  }

  get isEmpty(): boolean {
    return this.#at >= this.#text.length && this.#parts.length === 0;
  }

  push(delta: string): void {
    this.#add(this.#gate.push(delta));
  }

  /** Nothing more is pushed: the last grapheme is whole. */
  end(): void {
    this.#add(this.#gate.flush());
  }

  take(): string {
    if (this.#at >= this.#text.length) {
      this.#text = this.#parts.join("");
      this.#parts = [];
      this.#at = 0;
    }
    const rest = this.#text.slice(this.#at, this.#at + this.#step);
    const isLast = this.#at + rest.length >= this.#text.length;
    const text = isLast ? rest : safePrefix(rest) || rest;
    this.#at += text.length;
    return text;
  }

  #add(text: string): void {
    if (text !== "") this.#parts.push(text);
  }
}
