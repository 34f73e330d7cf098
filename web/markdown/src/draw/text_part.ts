import { InlineText } from "./inline_text.ts";
import type { Part } from "./part.ts";
import type { Tools } from "./tools.ts";

/** A paragraph or heading. */
export class TextPart implements Part {
  readonly #inline: InlineText;
  readonly #outer: HTMLElement | null;
  #isDrawn = true;

  /** `outer`: what the text's element stands in, with a box before it. */
  constructor(element: HTMLElement, tools: Tools, outer: HTMLElement | null = null) {
    this.#outer = outer;
    this.#inline = new InlineText(element, tools);
  }

  get outer(): HTMLElement {
    return this.#outer ?? this.#inline.element;
  }

  get inner(): HTMLElement {
    return this.#inline.element;
  }

  append(text: string): void {
    this.#inline.append(text);
    this.#isDrawn = false;
  }

  retract(units: number): void {
    this.#inline.retract(units);
    this.#isDrawn = false;
  }

  moveTo(element: HTMLElement): void {
    this.#inline.moveTo(element);
  }

  /** Draw what has come since; it may still change. */
  draw(): void {
    if (!this.#isDrawn) this.#inline.draw();
    this.#isDrawn = true;
  }

  /** No more comes, and what is undecided is not shown; `close` follows. */
  cut(): void {
    this.#inline.cut();
  }

  close(): void {
    this.#inline.close();
    this.#isDrawn = true;
  }
}
