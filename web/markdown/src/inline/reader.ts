import type { Target } from "../blocks/block.ts";
import { normalLabel } from "../blocks/definitions.ts";
import { readAddress } from "./address.ts";
import { readBareLink, readBareMail } from "./bare.ts";
import { runAt } from "./delimiters.ts";
import { readEntity } from "./entities.ts";
import { readFormula } from "./formula.ts";
import { type Piece, pairRuns } from "./pairing.ts";
import { type Inline, wordsOf } from "./tree.ts";

/** What inline text may refer to. */
export interface References {
  readonly links: Readonly<Record<string, Target>>;
  /** Whether a footnote's mark is shown as one, or as the text it is. */
  noteShown(label: string): boolean;
}

/** Read inline text (CommonMark 6, GFM), raw HTML as text, with footnotes and formulas. */
export function readInline(text: string, references: References, math: boolean): Inline[] {
  return new InlineReader(text, references, math).read();
}

/** A `[` or `![` without its partner yet. */
interface Bracket {
  readonly at: number;
  readonly isImage: boolean;
  /** Pieces that stand before what it holds. */
  readonly pieces: number;
  /** A link in it: links hold no links. */
  isSpent: boolean;
}

const SPECIAL = /[\\`$<&[\]!*_~@\n]|:\/\/|www\./gi;
const PUNCTUATION = /[!-/:-@[-`{-~]/;
const AUTOLINK = /<(?:([A-Za-z][A-Za-z\d+.-]{1,31}:[^\s<>]*)|([\w.!#$%&'*+/=?^`{|}~-]+@[A-Za-z\d](?:[\w.-]*\w)?))>/y;
const FOOTNOTE = /\[\^([^\s[\]^]{1,100})\]/y;
const LABEL = /\[((?:[^\\[\]]|\\[\s\S]){0,999})\]/y;

type Step = (reader: InlineReader) => void;

/**
 * Reads from left to right: what stands between `#from` and `at` is text as it is. Each step moves `at` on; one that finds
 * nothing leaves a character to the text.
 */
class InlineReader {
  readonly #text: string;
  readonly #references: References;
  readonly #math: boolean;
  readonly #pieces: Piece[] = [];
  readonly #brackets: Bracket[] = [];
  /** Lengths of runs of backticks that have no partner further on. */
  readonly #lonely = new Set<number>();
  #from = 0;
  at = 0;

  constructor(text: string, references: References, math: boolean) {
    this.#text = text;
    this.#references = references;
    this.#math = math;
  }

  read(): Inline[] {
    const text = this.#text;
    SPECIAL.lastIndex = 0;
    for (let found = SPECIAL.exec(text); found !== null; found = SPECIAL.exec(text)) {
      this.at = found.index;
      (STEPS[found[0]] ?? stepName)(this);
      SPECIAL.lastIndex = this.at;
    }
    this.#flush(text.length);
    return pairRuns(this.#pieces);
  }

  /** Put a piece in the place of the text from `start` to `end`. */
  put(piece: Piece, start: number, end: number): void {
    this.#flush(start);
    this.#pieces.push(piece);
    this.#from = end;
    this.at = end;
  }

  #flush(end: number): void {
    if (end > this.#from) this.#pieces.push({ type: "text", text: this.#text.slice(this.#from, end) });
  }

  escape(): void {
    const next = this.#text[this.at + 1] ?? "";
    if (this.#math && (next === "(" || next === "[") && this.formula()) return;
    if (next === "\n") this.#break(this.at, this.at + 2);
    else if (PUNCTUATION.test(next)) this.put({ type: "text", text: next }, this.at, this.at + 2);
    else this.at += 1;
  }

  /** Returns false, having done nothing, if no formula begins here. */
  formula(): boolean {
    const found = this.#math ? readFormula(this.#text, this.at) : null;
    if (found === null || found === "open") return false;
    this.put({ type: "formula", tex: found.tex, isDisplay: found.isDisplay }, this.at, found.end);
    return true;
  }

  lineEnd(): void {
    let start = this.at;
    while (start > this.#from && this.#text[start - 1] === " ") start -= 1;
    if (this.at - start >= 2) this.#break(start, this.at + 1);
    else this.at += 1;
  }

  /** Not at the end of the text, where there is nothing to break from. */
  #break(start: number, end: number): void {
    if (this.#text.slice(end).trim() === "") this.at = end;
    else this.put({ type: "break" }, start, end);
  }

  code(): void {
    const text = this.#text;
    const start = this.at + runLength(text, this.at);
    const length = start - this.at;
    for (let end = this.#lonely.has(length) ? -1 : text.indexOf("`", start); end >= 0; ) {
      const other = runLength(text, end);
      if (other === length) {
        this.put({ type: "code", text: codeOf(text.slice(start, end)) }, this.at, end + other);
        return;
      }
      end = text.indexOf("`", end + other);
    }
    this.#lonely.add(length);
    this.at = start;
  }

  angle(): void {
    AUTOLINK.lastIndex = this.at;
    const found = AUTOLINK.exec(this.#text);
    const shown = found?.[1] ?? found?.[2];
    if (found === null || shown === undefined) this.at += 1;
    else this.#link(found[1] ?? `mailto:${shown}`, shown, this.at, this.at + found[0].length);
  }

  #link(href: string, text: string, start: number, end: number): void {
    this.put({ type: "link", href, title: null, inner: [{ type: "text", text }] }, start, end);
  }

  entity(): void {
    const found = readEntity(this.#text, this.at);
    if (found === null) this.at += 1;
    else this.put({ type: "text", text: found.text }, this.at, found.end);
  }

  run(): void {
    const run = runAt(this.#text, this.at);
    if (run.opens || run.closes) this.put(run, run.start, run.end);
    else this.at = run.end;
  }

  bareLink(): void {
    const found = readBareLink(this.#text, this.at, this.#from, this.#brackets.length > 0);
    if (found === null) this.at += 1;
    else this.#link(found.href, this.#text.slice(found.start, found.end), found.start, found.end);
  }

  bareMail(): void {
    const found = readBareMail(this.#text, this.at, this.#from);
    if (found === null) this.at += 1;
    else this.#link(found.href, this.#text.slice(found.start, found.end), found.start, found.end);
  }

  image(): void {
    if (this.#text[this.at + 1] !== "[" || this.#noteAt(this.at + 1) !== null) this.at += 1;
    else this.#open(true);
  }

  open(): void {
    const label = this.#noteAt(this.at);
    if (label === null) this.#open(false);
    else this.put({ type: "note", label: normalLabel(label) }, this.at, this.at + label.length + 3);
  }

  #noteAt(at: number): string | null {
    FOOTNOTE.lastIndex = at;
    const label = FOOTNOTE.exec(this.#text)?.[1];
    return label !== undefined && this.#references.noteShown(label) ? label : null;
  }

  #open(isImage: boolean): void {
    const { at } = this;
    const text = isImage ? "![" : "[";
    this.put({ type: "text", text }, at, at + text.length);
    this.#brackets.push({ at: at + text.length, isImage, pieces: this.#pieces.length, isSpent: false });
  }

  close(): void {
    const bracket = this.#brackets.pop();
    const target = bracket === undefined || bracket.isSpent ? null : this.#targetOf(bracket);
    if (bracket === undefined || target === null) {
      this.at += 1;
      return;
    }
    this.#flush(this.at);
    const inner = pairRuns(this.#pieces.splice(bracket.pieces));
    this.#pieces.pop();
    this.#from = this.at;
    const { href, title, end } = target;
    if (bracket.isImage) this.put({ type: "image", src: href, title, text: wordsOf(inner) }, this.at, end);
    else this.put({ type: "link", href, title, inner: withoutLinks(inner) }, this.at, end);
    if (!bracket.isImage) for (const outer of this.#brackets) if (!outer.isImage) outer.isSpent = true;
  }

  /** Where the link leads that ends here: an address, or a label that is defined (CommonMark 6.3). */
  #targetOf(bracket: Bracket): (Target & { readonly end: number }) | null {
    const text = this.#text;
    const next = this.at + 1;
    const address = text[next] === "(" ? readAddress(text, next) : null;
    if (address !== null) return address;
    LABEL.lastIndex = next;
    const label = LABEL.exec(text);
    const isNamed = label !== null && label[1] !== "";
    const name = isNamed ? (label[1] ?? "") : text.slice(bracket.at, this.at);
    const key = name.length > 999 ? "" : normalLabel(name);
    const target = key === "" ? undefined : this.#references.links[key];
    return target === undefined ? null : { ...target, end: label === null ? next : next + label[0].length };
  }
}

const STEPS: Readonly<Record<string, Step>> = {
  "\\": (reader) => reader.escape(),
  "`": (reader) => reader.code(),
  $: (reader) => {
    if (!reader.formula()) reader.at += 1;
  },
  "<": (reader) => reader.angle(),
  "&": (reader) => reader.entity(),
  "[": (reader) => reader.open(),
  "]": (reader) => reader.close(),
  "!": (reader) => reader.image(),
  "*": (reader) => reader.run(),
  _: (reader) => reader.run(),
  "~": (reader) => reader.run(),
  "@": (reader) => reader.bareMail(),
  "\n": (reader) => reader.lineEnd(),
};

/** `://`, or `www.` in any case. */
const stepName: Step = (reader) => reader.bareLink();

function runLength(text: string, at: number): number {
  let end = at;
  while (text[end] === "`") end += 1;
  return end - at;
}

/** Line ends are blanks; one blank on both sides is no part of the code. */
function codeOf(text: string): string {
  const line = text.replaceAll("\n", " ");
  const isPadded = line.startsWith(" ") && line.endsWith(" ") && line.trim() !== "";
  return isPadded ? line.slice(1, -1) : line;
}

function withoutLinks(nodes: readonly Inline[]): Inline[] {
  return nodes.flatMap((node): Inline[] => {
    if (node.type === "link") return withoutLinks(node.inner);
    return "inner" in node ? [{ ...node, inner: withoutLinks(node.inner) }] : [node];
  });
}
