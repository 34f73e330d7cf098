import { readFileSync } from "node:fs";
import { type MarkdownOptions, MarkdownView, renderMarkdown } from "../src/index.ts";

/** One example of a specification. */
export interface Example {
  readonly number: number;
  readonly markdown: string;
  readonly html: string;
}

export function examples(file: "commonmark" | "gfm"): Example[] {
  return JSON.parse(readFileSync(`${import.meta.dirname}/examples/${file}.json`, "utf8"));
}

/** A small seeded generator of numbers in [0, 1): mulberry32. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Cut a text at random places into pieces of 1 to `most` units. */
export function randomPieces(text: string, most: number, random: () => number): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < text.length; ) {
    const end = at + 1 + Math.floor(random() * most);
    pieces.push(text.slice(at, end));
    at = end;
  }
  return pieces;
}

/** Options under which nothing depends on chance or on what is loaded. */
export const FIXED: MarkdownOptions = { idPrefix: "t", highlight: false };

export function oneShot(text: string, options: MarkdownOptions = FIXED): HTMLElement {
  const root = document.createElement("div");
  renderMarkdown(root, text, options);
  return root;
}

/** Stream pieces into a view, drawing after each; `onStep` sees the root each time. */
export function stream(
  pieces: readonly string[],
  onStep: (root: HTMLElement) => void = () => {},
  options: MarkdownOptions = FIXED,
): HTMLElement {
  const root = document.createElement("div");
  const view = new MarkdownView(root, { ...options, schedule: () => () => {} });
  for (const piece of pieces) {
    view.write(piece);
    view.flush();
    onStep(root);
  }
  view.end();
  view.flush();
  return root;
}

/** What a reader sees of the text: not the words of the buttons; and of the footnotes, which grow beside it. */
export function visible(root: HTMLElement): [string, string] {
  const copy = root.cloneNode(true) as HTMLElement;
  for (const bar of copy.querySelectorAll(".md-bar")) bar.remove();
  const notes = copy.querySelector(".md-notes");
  notes?.remove();
  return [bare(copy), bare(notes)];
}

function bare(node: Element | null): string {
  return (node?.textContent ?? "").replace(/\s+/g, "");
}

/** Characters that markup is made of: one may be missing from a step, but none may stand there that the end lacks. */
const MARKUP = /[[\]!*_~`$\\^()<>&#|:+-]/;

/** Where a step shows what the final text does not; null if it shows only what stays, in order. */
export function firstFlash(step: string, final: string): string | null {
  let at = 0;
  for (let seen = 0; seen < step.length; seen += 1) {
    const unit = step[seen];
    while (at < final.length && final[at] !== unit && MARKUP.test(final[at] ?? "")) at += 1;
    if (final[at] !== unit) return `${JSON.stringify(step.slice(Math.max(0, seen - 10), seen + 20))} at ${seen}`;
    at += 1;
  }
  return null;
}
