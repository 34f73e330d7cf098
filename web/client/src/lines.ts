/** Bytes cut anywhere, turned into lines of text, without I/O. */

/** A line, or an event, passed the limit. The decoder that raised it is unusable. */
export class TooLarge extends Error {
  constructor(readonly limitBytes: number) {
    super(`a line or event is larger than ${limitBytes} bytes`);
    this.name = "TooLarge";
  }
}

export interface LineOptions {
  /** Largest line. Counted in UTF-16 units, of which no text has more than UTF-8 bytes: so it bounds memory. */
  maxBytes: number;
  /** Whether a CR alone ends a line, as in event streams; else only LF does, and a CR before it is dropped. */
  crEndsLine: boolean;
}

/**
 * Cuts UTF-8 into lines. A BOM at the very beginning is dropped, invalid bytes become U+FFFD (WHATWG Encoding 4.1).
 *
 * Time is linear in the bytes received, however they are cut: parts of a line are joined once, when its end is known, and
 * only what is new is searched.
 */
export class LineDecoder {
  readonly #options: LineOptions;
  readonly #end: RegExp;
  readonly #utf8 = new TextDecoder();
  #parts: string[] = [];
  #held = 0;
  /** A CR ended the last line: an LF that follows belongs to it, even in a later read. */
  #endedByCR = false;
  #isBroken = false;

  constructor(options: LineOptions) {
    this.#options = options;
    this.#end = options.crEndsLine ? /\r\n|\r|\n/g : /\n/g;
  }

  /**
   * Calls `onLine` with each line that `data` completes, without its end.
   *
   * @throws TooLarge A line passed the limit; all lines before it have been given.
   */
  receive(data: Uint8Array, onLine: (line: string) => void): void {
    if (this.#isBroken) throw new TooLarge(this.#options.maxBytes);
    const text = this.#utf8.decode(data, { stream: true });
    if (text === "") return;
    let start = this.#endedByCR && text[0] === "\n" ? 1 : 0;
    this.#endedByCR = false;
    this.#end.lastIndex = start;
    for (let found = this.#end.exec(text); found !== null; found = this.#end.exec(text)) {
      this.#hold(text.slice(start, found.index));
      start = this.#end.lastIndex;
      this.#endedByCR = found[0] === "\r" && start === text.length;
      onLine(this.#take());
    }
    this.#hold(text.slice(start));
  }

  #hold(part: string): void {
    if (part === "") return;
    this.#held += part.length;
    if (this.#held > this.#options.maxBytes) {
      this.#isBroken = true;
      this.#parts = [];
      throw new TooLarge(this.#options.maxBytes);
    }
    this.#parts.push(part);
  }

  #take(): string {
    const line = this.#parts.length === 1 ? (this.#parts[0] ?? "") : this.#parts.join("");
    this.#parts = [];
    this.#held = 0;
    return !this.#options.crEndsLine && line.endsWith("\r") ? line.slice(0, -1) : line;
  }
}
