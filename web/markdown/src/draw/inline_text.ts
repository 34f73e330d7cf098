import { heal } from "../inline/heal.ts";
import { readInline } from "../inline/reader.ts";
import { cutOf, lastFlat } from "../inline/segment.ts";
import type { Inline } from "../inline/tree.ts";
import { type Drawn, InlineNodes, notesIn } from "./inline_nodes.ts";
import type { Tools } from "./tools.ts";

/** What may become a formula, and is no amount of money. */
const FORMULA_BEGUN = /\$[^\s\d]|\\[([]/;

/**
 * The text of a paragraph, heading or cell, drawn in its element as it grows.
 *
 * What may still change is at most `Limits.window` long: of a longer text the begin is drawn for good, piece by piece, cut by
 * its content alone, so that the result is the same however the text came. Of what may still change, a draw reads only
 * what follows the last word before which nothing is open; when it is drawn for good, it is read once more as a whole.
 */
export class InlineText {
  readonly #tools: Tools;
  readonly #nodes: InlineNodes;
  #element: HTMLElement;
  /** Pieces drawn for good, kept with their nodes for the case that a definition comes which they refer to. */
  #pieces: string[] = [];
  #final: Drawn[][] = [];
  #text = "";
  /** What is shown of the text that may still change. */
  #live: Drawn[] = [];
  /** Units of it that are read, and what was made of them: nothing that follows changes it. */
  #settled = 0;
  #settledNodes: readonly Inline[] = [];
  /** What the rest was drawn as. */
  #shown: string | null = null;

  constructor(element: HTMLElement, tools: Tools) {
    this.#element = element;
    this.#tools = tools;
    this.#nodes = new InlineNodes(tools);
  }

  get element(): HTMLElement {
    return this.#element;
  }

  append(text: string): void {
    this.#text += text;
    const { window } = this.#tools.limits;
    while (this.#text.length >= window) {
      const cut = cutOf(this.#text.slice(0, window), window / 2, this.#tools.math);
      this.#freeze(this.#text.slice(0, cut));
      this.#text = this.#text.slice(cut);
    }
  }

  retract(units: number): void {
    this.#text = this.#text.slice(0, this.#text.length - units);
    if (this.#settled > this.#text.length) this.#unsettle();
  }

  /** Draw what may still change. */
  draw(): void {
    this.#settle();
    const rest = this.#text.slice(this.#settled);
    this.#tools.work.lexed += rest.length;
    const healed = heal(rest, this.#tools.math);
    if (healed.length < rest.length && FORMULA_BEGUN.test(rest)) this.#tools.formulas?.expect();
    if (healed !== this.#shown) this.#show(healed);
    this.#shown = healed;
  }

  cut(): void {
    this.#text = heal(this.#text, this.#tools.math);
  }

  close(): void {
    const text = this.#text.trimEnd();
    this.#text = "";
    if (text !== "" || this.#live.length > 0) this.#freeze(text);
    const all = this.#pieces.join("");
    if (all.includes("[")) this.#tools.references.await(all, this);
    else this.#forget();
  }

  /** Draw it once more, since what it refers to is known now. */
  readonly redraw = (): void => {
    for (const [index, piece] of this.#pieces.entries()) {
      const before = [...this.#final.slice(index + 1).flat(), ...this.#live][0]?.node ?? null;
      const place = { parent: this.#element, before };
      this.#final[index] = this.#nodes.update(place, this.#final[index] ?? [], this.#read(piece));
    }
    this.#tools.footnotes.number(this, notesIn(this.#final.flat()));
    this.#unsettle();
    if (this.#text !== "") this.draw();
  };

  /** Go on in another element, with all that was drawn. */
  moveTo(element: HTMLElement): void {
    element.append(...this.#element.childNodes);
    this.#element.replaceWith(element);
    this.#element = element;
  }

  /** Read on to the last word before which nothing is open. */
  #settle(): void {
    const rest = this.#text.slice(this.#settled);
    const flat = lastFlat(rest, rest.length, this.#tools.math);
    if (flat === 0) return;
    this.#settledNodes = joined(this.#settledNodes, this.#read(rest.slice(0, flat)));
    this.#settled += flat;
    this.#shown = null;
  }

  #unsettle(): void {
    this.#settled = 0;
    this.#settledNodes = [];
    this.#shown = null;
  }

  #show(healed: string): void {
    const next = joined(this.#settledNodes, this.#read(healed));
    this.#live = this.#nodes.update({ parent: this.#element, before: null }, this.#live, next);
  }

  #freeze(text: string): void {
    const place = { parent: this.#element, before: null };
    this.#final.push(this.#nodes.update(place, this.#live, this.#read(text)));
    this.#pieces.push(text);
    if (text.includes("[^")) this.#tools.footnotes.number(this, notesIn(this.#final.flat()));
    this.#live = [];
    this.#unsettle();
  }

  #forget(): void {
    this.#pieces = [];
    this.#final = [];
  }

  #read(text: string): Inline[] {
    this.#tools.work.lexed += text.length;
    return readInline(text, this.#tools.references, this.#tools.math);
  }
}

/** Both one after the other; text beside text is one. */
function joined(first: readonly Inline[], second: readonly Inline[]): readonly Inline[] {
  const last = first.at(-1);
  const next = second[0];
  if (last?.type !== "text" || next?.type !== "text") return [...first, ...second];
  return [...first.slice(0, -1), { type: "text", text: last.text + next.text }, ...second.slice(1)];
}
