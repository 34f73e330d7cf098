const TAB = 4;

/** Reads a line from left to right by columns: a tab may stand for a part of itself (CommonMark 2.2). */
export class Cursor {
  readonly line: string;
  at = 0;
  column = 0;
  /** Columns left of a tab that was taken in part. */
  #ofTab = 0;

  constructor(line: string) {
    this.line = line;
  }

  /** Columns of white space from here to the next character. */
  get indent(): number {
    return this.#spaces().columns;
  }

  get isBlank(): boolean {
    return this.#spaces().at >= this.line.length;
  }

  /** The next character after white space, or "". */
  get next(): string {
    return this.line[this.#spaces().at] ?? "";
  }

  /** What stands from the next character on. */
  get text(): string {
    return this.line.slice(this.#spaces().at);
  }

  /** What stands from here on, a tab taken in part as the spaces left of it. */
  get rest(): string {
    return this.#ofTab > 0 ? " ".repeat(this.#ofTab) + this.line.slice(this.at + 1) : this.line.slice(this.at);
  }

  skip(characters: number): void {
    this.at += characters;
    this.column += characters;
    this.#ofTab = 0;
  }

  skipIndent(): void {
    this.skipColumns(this.indent);
  }

  /** Take up to so many columns of white space. */
  skipColumns(columns: number): void {
    for (let left = columns; left > 0; ) {
      const unit = this.line[this.at];
      if (unit === "\t") {
        const width = this.#ofTab || TAB - (this.column % TAB);
        const taken = Math.min(width, left);
        this.column += taken;
        left -= taken;
        this.#ofTab = width - taken;
        if (this.#ofTab === 0) this.at += 1;
      } else if (unit === " ") {
        this.skip(1);
        left -= 1;
      } else return;
    }
  }

  #spaces(): { at: number; columns: number } {
    let at = this.at;
    let column = this.column;
    let ofTab = this.#ofTab;
    for (; ; at += 1) {
      const unit = this.line[at];
      if (unit === "\t") column += ofTab || TAB - (column % TAB);
      else if (unit === " ") column += 1;
      else return { at, columns: column - this.column };
      ofTab = 0;
    }
  }
}
