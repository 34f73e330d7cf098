import type { Target } from "../blocks/block.ts";
import { normalLabel } from "../blocks/definitions.ts";
import type { References as ReadReferences } from "../inline/reader.ts";
import type { Jobs } from "../jobs.ts";

/** A drawn text that can be drawn again. */
export interface Redrawn {
  readonly redraw: () => void;
}

const BRACKETS = /\[((?:[^\\[\]]|\\[\s\S]){1,999})\]/g;

/** Link definitions and footnotes of the text, and which texts wait for one: a reference may come before what it means. */
export class References implements ReadReferences {
  readonly links: Record<string, Target> = Object.create(null);
  readonly #notes = new Set<string>();
  readonly #waiting = new Map<string, Set<Redrawn>>();
  readonly #jobs: Jobs;
  readonly #most: number;
  #count = 0;
  #isOver = false;

  constructor(jobs: Jobs, most: number) {
    this.#jobs = jobs;
    this.#most = most;
  }

  /** The first definition of a label counts (CommonMark 4.7). */
  define(label: string, target: Target): void {
    if (label in this.links || this.#count >= this.#most) return;
    this.#count += 1;
    this.links[label] = target;
    this.#redraw(label);
  }

  /** Returns false if there is such a footnote already. */
  defineNote(label: string): boolean {
    const key = normalLabel(label);
    if (this.#notes.has(key)) return false;
    this.#notes.add(key);
    this.#redraw(`^${key}`);
    return true;
  }

  hasNote(label: string): boolean {
    return this.#notes.has(normalLabel(label));
  }

  /** Until the text is over a footnote may still come, so its mark is shown as one. */
  noteShown(label: string): boolean {
    return !this.#isOver || this.hasNote(label);
  }

  /** Remember what a text refers to that is not defined yet. */
  await(text: string, redrawn: Redrawn): void {
    if (!text.includes("[")) return;
    for (const [, label = ""] of text.matchAll(BRACKETS)) {
      const key = normalLabel(label);
      if (key in this.links || (key.startsWith("^") && this.#notes.has(key.slice(1)))) continue;
      const waiting = this.#waiting.get(key) ?? new Set();
      waiting.add(redrawn);
      this.#waiting.set(key, waiting);
    }
  }

  /** No definition comes any more: what looked like a footnote is text. */
  end(): void {
    this.#isOver = true;
    for (const label of [...this.#waiting.keys()]) if (label.startsWith("^")) this.#redraw(label);
    this.#waiting.clear();
  }

  #redraw(label: string): void {
    for (const { redraw } of this.#waiting.get(label) ?? []) this.#jobs.add(redraw);
    this.#waiting.delete(label);
  }
}
