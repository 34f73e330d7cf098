import type { Block } from "./block.ts";
import type { Cursor } from "./cursor.ts";
import type { Frame, Leaf } from "./plan.ts";

/** What is known where a block may start. */
export interface Place {
  readonly cursor: Cursor;
  /** The paragraph that this line would interrupt is open here. */
  readonly inParagraph: boolean;
  /** A paragraph is open, here or deeper, which text of this line would continue (CommonMark 5.1, laziness). */
  readonly isLazy: boolean;
  /** The line is too long to be looked at as a whole. */
  readonly isLong: boolean;
  readonly math: boolean;
}

const CODE_INDENT = 4;

/** Containers that begin here, having taken their marker; null if none does. */
export function startContainer(place: Place, parent: Frame | Block | undefined): Block[] | null {
  if (place.cursor.indent >= CODE_INDENT) return null;
  const footnote = parent?.type === "document" ? startFootnote(place.cursor) : null;
  return startQuote(place.cursor) ?? footnote ?? startItem(place, parent);
}

function startQuote(cursor: Cursor): Block[] | null {
  if (cursor.next !== ">") return null;
  takeQuoteMark(cursor);
  return [{ type: "quote" }];
}

export function takeQuoteMark(cursor: Cursor): void {
  cursor.skipIndent();
  cursor.skip(1);
  cursor.skipColumns(1);
}

const FOOTNOTE = /^\[\^([^\s[\]^]{1,100})\]:/;

function startFootnote(cursor: Cursor): Block[] | null {
  if (cursor.next !== "[") return null;
  const found = FOOTNOTE.exec(cursor.text.slice(0, 128));
  if (found === null) return null;
  cursor.skipIndent();
  cursor.skip(found[0].length);
  return [{ type: "footnote", label: found[1] ?? "" }];
}

const MARKER = /^(?:([-+*])|(\d{1,9})([.)]))(?=[ \t]|$)/;

function startItem(place: Place, parent: Frame | Block | undefined): Block[] | null {
  const { cursor } = place;
  const text = cursor.text;
  const found = MARKER.exec(text.length > 16 ? text.slice(0, 16) : text);
  if (found === null || (!place.isLong && isRule(text))) return null;
  const marker = found[1] ?? found[3] ?? "";
  const number = found[2] === undefined ? null : Number(found[2]);
  const isBlank = text.slice(found[0].length).trim() === "";
  if (place.inParagraph && (isBlank || (number !== null && number !== 1))) return null;
  const indent = takeMarker(cursor, found[0].length, isBlank);
  const item: Block = { type: "item", indent };
  const goesOn = parent?.type === "list" && parent.marker === marker;
  return goesOn ? [item] : [{ type: "list", marker, start: number }, item];
}

/** Take an item's marker and the white space after it; return by how many columns the item's content is indented. */
function takeMarker(cursor: Cursor, length: number, isBlank: boolean): number {
  const before = cursor.indent;
  cursor.skipIndent();
  cursor.skip(length);
  const after = cursor.indent;
  const isOne = isBlank || after > CODE_INDENT;
  cursor.skipColumns(isOne ? 1 : after);
  return before + length + (isOne ? 1 : after);
}

export function isRule(text: string): boolean {
  return /^(?:(?:-[ \t]*){3,}|(?:_[ \t]*){3,}|(?:\*[ \t]*){3,})$/.test(text);
}

/** The leaf that begins here; null if this is text of a paragraph. */
export function startLeaf(place: Place): Leaf | null {
  const { cursor } = place;
  if (cursor.indent >= CODE_INDENT) return place.isLazy ? null : startIndented(cursor);
  const text = cursor.text;
  const heading = startHeading(text);
  if (heading !== null || place.isLong) return heading;
  return startFence(text, cursor.indent) ?? startFormula(place, text) ?? startUnderline(place, text) ?? startRule(text);
}

function startIndented(cursor: Cursor): Leaf {
  cursor.skipColumns(CODE_INDENT);
  return { type: "indented", text: cursor.rest };
}

function startHeading(text: string): Leaf | null {
  const found = /^(#{1,6})(?:[ \t]+|$)/.exec(text);
  return found === null ? null : { type: "heading", level: (found[1] ?? "").length, text: text.slice(found[0].length) };
}

function startFence(text: string, indent: number): Leaf | null {
  const found = /^(?:(`{3,})([^`]*)|(~{3,})(.*))$/.exec(text);
  if (found === null) return null;
  const mark = found[1] ?? found[3] ?? "";
  return { type: "fence", mark: mark.slice(0, 1), length: mark.length, indent, info: found[2] ?? found[4] ?? "" };
}

const FORMULA_ENDS: Readonly<Record<string, string>> = { $$: "$$", "\\[": "\\]" };

/** A formula of its own line or lines: it opens a line and closes one. TeX allows no blank line in it. */
function startFormula(place: Place, text: string): Leaf | null {
  const end = place.math ? FORMULA_ENDS[text.slice(0, 2)] : undefined;
  if (end === undefined) return null;
  const body = text.slice(2).trimEnd();
  const closed = body.indexOf(end);
  if (closed >= 0 && closed !== body.length - end.length) return null;
  if (closed >= 0) return { type: "formula", end, text: body.slice(0, closed), isWhole: true };
  return { type: "formula", end, text: body === "" ? "" : `${body}\n`, isWhole: false };
}

function startUnderline(place: Place, text: string): Leaf | null {
  if (!place.inParagraph) return null;
  const found = /^(?:(=+)|-+)[ \t]*$/.exec(text);
  return found === null ? null : { type: "underline", level: found[1] === undefined ? 2 : 1 };
}

function startRule(text: string): Leaf | null {
  return isRule(text) ? { type: "rule" } : null;
}
