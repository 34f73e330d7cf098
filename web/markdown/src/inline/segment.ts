import { safePrefix } from "../text/graphemes.ts";
import { runAt } from "./delimiters.ts";
import { readFormula } from "./formula.ts";

/**
 * Where a long text may be cut, so that its two parts read as the whole would: at most `most`, a whole word's begin.
 *
 * Looked for is the last place that nothing open reaches over. If there is none, the text is cut all the same: reading
 * stays linear, and what would have reached over is shown as it stands.
 */
export function cutOf(text: string, most: number, math: boolean): number {
  const flat = lastFlat(text, most, math);
  if (flat >= most / 8) return flat;
  const space = text.lastIndexOf(" ", most - 1) + 1;
  if (space >= most / 2) return space;
  return safePrefix(text.slice(0, most)).length || most;
}

const SPECIAL = /[\\`$<[*_~ ]/g;

/** The last begin of a word before `most` that comes before anything that could still be open. */
export function lastFlat(text: string, most: number, math: boolean): number {
  let flat = 0;
  SPECIAL.lastIndex = 0;
  for (let found = SPECIAL.exec(text); found !== null && found.index < most; found = SPECIAL.exec(text)) {
    const at = found.index;
    if (found[0] === " ") {
      if (isWordStart(text, at)) flat = at + 1;
      continue;
    }
    const end = endOf(text, at, math);
    if (end === null) return flat;
    SPECIAL.lastIndex = end;
  }
  return flat;
}

/** A single blank between two words: not one of a line's end, which may be a break. */
function isWordStart(text: string, at: number): boolean {
  return /\S/.test(text[at - 1] ?? " ") && /\S/.test(text[at + 1] ?? " ");
}

/** Where a construct that begins here is over, for sure; null if it may reach on. */
function endOf(text: string, at: number, math: boolean): number | null {
  const unit = text[at] ?? "";
  if (unit === "$" || unit === "\\") return afterFormula(text, at, math);
  const pattern = WHOLE[unit];
  if (pattern !== undefined) {
    pattern.lastIndex = at;
    if (pattern.test(text))
      return RUNS.includes(unit) && !isWholeRun(text, at, pattern.lastIndex) ? null : pattern.lastIndex;
  }
  if (unit === "<") return at + 1;
  if (!RUNS.includes(unit)) return null;
  const run = runAt(text, at);
  return run.opens || run.closes ? null : run.end;
}

const RUNS = "*_~";

/** Whether a pattern's two runs pair indeed. */
function isWholeRun(text: string, start: number, end: number): boolean {
  const opener = runAt(text, start);
  return opener.opens && runAt(text, end - (opener.end - start)).closes;
}

function afterFormula(text: string, at: number, math: boolean): number | null {
  const found = math ? readFormula(text, at) : null;
  if (found === "open") return null;
  return found?.end ?? at + (text[at] === "\\" ? 2 : 1);
}

/** Constructs that are whole in themselves, simple ones; anything else counts as open. */
const WHOLE: Readonly<Record<string, RegExp>> = {
  "`": /(?<!`)`[^`]+`(?!`)/y,
  "[": /\[[^[\]\\`*_~<$]*\](?:\([^()\\\s]*\)|(?![([]))/y,
  "*": /(\*{1,2})(?=[^\s*])[^*_~`[\]<$\\]*[^\s*_~`[\]<$\\]\1(?!\*)/y,
  _: /(?<!\w)(_{1,2})(?=[^\s_])[^*_~`[\]<$\\]*[^\s*_~`[\]<$\\]\1(?!\w)/y,
  "~": /(~~)(?=[^\s~])[^*_~`[\]<$\\]*[^\s*_~`[\]<$\\]\1(?!~)/y,
  "<": /<(?:[A-Za-z][\w+.-]*:[^\s<>]*|[^\s<>]+@[^\s<>]+)>/y,
};
