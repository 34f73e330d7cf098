import type { Limits } from "../limits.ts";
import type { BlockSink } from "./block.ts";
import { isDefinitionBegun, readDefinition } from "./definitions.ts";

/**
 * The open paragraph: gives its text on, save what could still be a link definition or the head of a table.
 *
 * A definition is told at its end, a table by the line after its head. Text in neither is given on as it comes.
 */
export class Paragraph<H> {
  readonly type = "paragraph";
  readonly #sink: BlockSink<H>;
  readonly #parent: H;
  readonly #task: boolean | null;
  readonly #limits: Limits;
  #leaf: H | null = null;
  /** Text that could be definitions; null once it cannot. */
  #head: string | null = "";
  /** A finished line that begins with a pipe. */
  #held: string | null = null;
  /** The last line as far as it is short enough to be the head of a table; null if it is not. */
  #line: string | null = "";
  #isFirst = true;
  /** Units given on. */
  #given = 0;

  constructor(sink: BlockSink<H>, parent: H, task: boolean | null, limits: Limits) {
    this.#sink = sink;
    this.#parent = parent;
    this.#task = task;
    this.#limits = limits;
  }

  /** The last line, if a table could begin with it. */
  get header(): string | null {
    const line = this.#held ?? (this.#head === null ? this.#line : null);
    return line?.includes("|") ? line : null;
  }

  addLine(text: string): void {
    if (this.#head !== null && this.#head !== "" && !/^["'(]/.test(text)) this.#takeDefinitions(true);
    if (this.#head !== null) {
      this.#head += this.#isFirst ? text : `\n${text}`;
    } else {
      this.#release();
      if (text.startsWith("|") && this.#asHeader(text) !== null) this.#held = text;
      else this.#give(this.#isFirst ? text : `\n${text}`);
      this.#line = this.#asHeader(text);
    }
    this.#isFirst = false;
    this.#settle(false);
  }

  grow(text: string): void {
    if (this.#head !== null) this.#head += text;
    else this.#give(text);
    if (this.#line !== null) this.#line = this.#asHeader(this.#line + text);
    this.#settle(false);
  }

  endLine(): void {
    this.#settle(true);
  }

  /** Take the last line out, for a table; returns whether text is left. */
  takeHeader(): boolean {
    const isLeft = this.#leaf !== null;
    if (this.#held !== null) {
      this.#held = null;
      return isLeft;
    }
    if (this.#leaf === null || this.#line === null) return false;
    const hasMore = this.#given > this.#line.length;
    this.#sink.retract(this.#leaf, this.#line.length + (hasMore ? 1 : 0));
    if (!hasMore) this.#sink.remove(this.#leaf);
    if (!hasMore) this.#leaf = null;
    return hasMore;
  }

  /** Make it a heading. Returns false if only definitions stood here, so that the underline is text. */
  promote(level: number): boolean {
    this.#finish();
    if (this.#leaf === null) return false;
    this.#sink.close(this.#sink.promote(this.#leaf, level), true);
    return true;
  }

  close(): void {
    this.#finish();
    if (this.#leaf !== null) this.#sink.close(this.#leaf, true);
  }

  /** A line that can be taken back has to be short enough, with the line end before it. */
  #asHeader(line: string): string | null {
    return line.length < this.#limits.window / 2 ? line : null;
  }

  #finish(): void {
    if (this.#head !== null) {
      this.#takeDefinitions(true);
      if (this.#head !== null && this.#head !== "") this.#showHead();
    }
    this.#release();
  }

  /** Look whether the head can still be a definition. At the end of a line whole ones are taken out. */
  #settle(isLineEnd: boolean): void {
    if (this.#head === null) return;
    if (isLineEnd) this.#takeDefinitions(false);
    if (this.#isRefused()) this.#takeDefinitions(true);
    if (this.#isRefused()) this.#showHead();
  }

  /** Whether the head is no definition, nor the begin of one. */
  #isRefused(): boolean {
    return this.#head !== null && (this.#head.length > this.#limits.line || !isDefinitionBegun(this.#head));
  }

  #takeDefinitions(isLast: boolean): void {
    while (this.#head !== null && this.#head !== "") {
      const found = readDefinition(this.#head);
      if (found === null || (found.isOpen && !isLast)) return;
      this.#sink.define(found.label, found.target);
      this.#head = this.#head.slice(found.end);
      this.#isFirst = this.#head === "";
    }
  }

  #showHead(): void {
    const head = this.#head ?? "";
    this.#head = null;
    const start = head.lastIndexOf("\n") + 1;
    const last = head.slice(start);
    if (last.startsWith("|") && this.#asHeader(last) !== null) {
      if (start > 0) this.#give(head.slice(0, start - 1));
      this.#held = last;
    } else this.#give(head);
    this.#line = this.#asHeader(last);
  }

  #release(): void {
    if (this.#held === null) return;
    this.#give(this.#given > 0 ? `\n${this.#held}` : this.#held);
    this.#held = null;
  }

  #give(text: string): void {
    this.#leaf ??= this.#sink.open(this.#parent, { type: "paragraph", task: this.#task });
    this.#given += text.length;
    this.#sink.append(this.#leaf, text);
  }
}
