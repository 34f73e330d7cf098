import type { Align } from "./block.ts";

const DELIMITERS = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

/** Read a delimiter row (GFM 4.10), or return null. Without a pipe it is text. */
export function readColumns(line: string): Align[] | null {
  if (!line.includes("|") || !DELIMITERS.test(line)) return null;
  return splitRow(line).map(alignOf);
}

function alignOf(cell: string): Align {
  const left = cell.startsWith(":");
  const right = cell.endsWith(":");
  if (left && right) return "center";
  return left ? "left" : right ? "right" : null;
}

/** Cut a row at its pipes. An escaped pipe is a plain one, in code too (GFM example 200). */
export function splitRow(line: string): string[] {
  const cells: string[] = [];
  let cell = "";
  for (const part of line.trim().split(/(\\[\s\S]|\|)/)) {
    if (part === "|") {
      cells.push(cell.trim());
      cell = "";
    } else cell += part === "\\|" ? "|" : part;
  }
  if (cell.trim() !== "") cells.push(cell.trim());
  if (line.trimStart().startsWith("|")) cells.shift();
  return cells;
}
