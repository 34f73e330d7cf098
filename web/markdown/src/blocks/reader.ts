import type { Limits } from "../limits.ts";
import type { Align, Block } from "./block.ts";
import { Cursor } from "./cursor.ts";
import type { Frame, Leaf, Plan } from "./plan.ts";
import { type Place, startContainer, startLeaf, takeQuoteMark } from "./starts.ts";
import { readColumns, splitRow } from "./table.ts";

/** What a line is read against. */
export interface Open {
  readonly frames: readonly Frame[];
  /** The last line of the open paragraph if a table could begin with it, else null. */
  readonly header: string | null;
  readonly math: boolean;
  readonly limits: Limits;
}

/** Decide what a line means (CommonMark, appendix "A parsing strategy", phases 1 and 2). Changes nothing. */
export function readLine(line: string, open: Open): Plan {
  const cursor = new Cursor(line);
  const isLong = line.length > open.limits.line;
  const { kept, done } = keep(cursor, open.frames, isLong);
  if (done !== null) return { kept, opened: [], leaf: done };
  return readStarts(cursor, open, kept, isLong);
}

/** Phase 1: the open blocks that go on, and the leaf if the innermost takes the line as it is. */
function keep(cursor: Cursor, frames: readonly Frame[], isLong: boolean): { kept: number; done: Leaf | null } {
  for (let depth = 1; depth < frames.length; depth += 1) {
    const frame = frames[depth];
    if (frame === undefined) break;
    const verbatim = readVerbatim(cursor, frame, isLong);
    if (verbatim !== null) return { kept: depth + 1, done: verbatim };
    if (!goesOn(cursor, frame)) return { kept: depth, done: null };
  }
  return { kept: frames.length, done: null };
}

function goesOn(cursor: Cursor, frame: Frame): boolean {
  switch (frame.type) {
    case "quote":
      if (cursor.indent >= 4 || cursor.next !== ">") return false;
      takeQuoteMark(cursor);
      return true;
    case "item":
      return takeIndent(cursor, frame.indent, !frame.isEmpty);
    case "footnote":
      return takeIndent(cursor, 4, true);
    case "indented":
    case "formula":
      return false;
    case "paragraph":
    case "table":
      return !cursor.isBlank;
    default:
      return true;
  }
}

function takeIndent(cursor: Cursor, columns: number, mayBeBlank: boolean): boolean {
  if (cursor.isBlank) {
    if (mayBeBlank) cursor.skipIndent();
    return mayBeBlank;
  }
  if (cursor.indent < columns) return false;
  cursor.skipColumns(columns);
  return true;
}

/** What the line is to a leaf that takes lines as they are; null if it is none or the line ends it. */
function readVerbatim(cursor: Cursor, frame: Frame, isLong: boolean): Leaf | null {
  if (frame.type === "fence") {
    if (!isLong && isFenceEnd(cursor, frame.mark, frame.length)) return { type: "close", text: "" };
    cursor.skipColumns(Math.min(frame.indent, cursor.indent));
    return { type: "verbatim", text: cursor.rest };
  }
  if (frame.type === "indented" && (cursor.indent >= 4 || cursor.isBlank)) {
    cursor.skipColumns(4);
    return { type: "verbatim", text: cursor.rest };
  }
  if (frame.type === "formula" && !cursor.isBlank) return readFormula(cursor, frame.end);
  return null;
}

function isFenceEnd(cursor: Cursor, mark: string, length: number): boolean {
  if (cursor.indent >= 4 || cursor.next !== mark) return false;
  const found = /^(`+|~+)[ \t]*$/.exec(cursor.text);
  return (found?.[1]?.length ?? 0) >= length;
}

function readFormula(cursor: Cursor, end: string): Leaf {
  const text = cursor.text.trimEnd();
  return text.endsWith(end) ? { type: "close", text: text.slice(0, -end.length) } : { type: "verbatim", text };
}

/** Phase 2: what begins on the line, container by container. */
function readStarts(cursor: Cursor, open: Open, kept: number, isLong: boolean): Plan {
  const opened: Block[] = [];
  const tip = open.frames.at(-1)?.type;
  const isKept = kept === open.frames.length;
  let parent: Frame | Block | undefined = open.frames[kept - 1];
  for (;;) {
    const isFirst = opened.length === 0;
    const place: Place = {
      cursor,
      inParagraph: isFirst && isKept && tip === "paragraph",
      isLazy: isFirst && tip === "paragraph",
      isLong,
      math: open.math,
    };
    const found = kept + opened.length < open.limits.depth ? startContainer(place, parent) : null;
    if (found === null) return readLeaf(place, open, { kept, opened });
    opened.push(...found);
    parent = opened.at(-1);
  }
}

function readLeaf(place: Place, open: Open, plan: Omit<Plan, "leaf">): Plan {
  const { cursor } = place;
  if (cursor.isBlank) return { ...plan, leaf: { type: "blank" } };
  const columns = place.inParagraph && !place.isLong ? columnsOf(cursor, open) : null;
  if (columns !== null) return { ...plan, leaf: { type: "columns", columns } };
  const leaf = startLeaf(place);
  if (leaf !== null) return { ...plan, leaf };
  const text = cursor.text;
  if (place.isLazy) return { kept: open.frames.length, opened: [], leaf: { type: "continue", text } };
  const isRow = plan.opened.length === 0 && open.frames[plan.kept - 1]?.type === "table" && !place.isLong;
  return { ...plan, leaf: { type: isRow ? "row" : "paragraph", text } };
}

function columnsOf(cursor: Cursor, open: Open): readonly Align[] | null {
  if (open.header === null || cursor.indent >= 4) return null;
  const columns = readColumns(cursor.text);
  if (columns === null || columns.length > open.limits.columns) return null;
  return splitRow(open.header).length === columns.length ? columns : null;
}
