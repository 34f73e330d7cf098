import { readAddress } from "./address.ts";
import { closersOf, OpenRuns, runAt } from "./delimiters.ts";
import { readFormula } from "./formula.ts";

/** How long something may be held back that may never be completed. */
const HELD = 400;

interface Bracket {
  readonly at: number;
  readonly isImage: boolean;
  /** How many runs were open before it. */
  readonly runs: number;
}

interface Scan {
  readonly text: string;
  readonly math: boolean;
  at: number;
  /** From here on nothing is shown. */
  end: number;
  /** Brackets without a partner, by place. */
  brackets: Bracket[];
  runs: OpenRuns;
  /** Characters not shown: brackets of links that are not whole. */
  dropped: number[];
  suffix: string;
}

/**
 * Make the begin of a text presentable: hold back what is not decided at its end, and close what is open.
 *
 * The result shows nothing that the whole text would not show, so far as that can be told: a link's text stands without its
 * brackets until its address has come, a formula not at all before its end. One pass; what is held is bounded.
 */
export function heal(text: string, math: boolean): string {
  const runs = new OpenRuns();
  const scan: Scan = { text, math, at: 0, end: text.length, brackets: [], runs, dropped: [], suffix: "" };
  while (scan.at < scan.end) step(scan);
  closeBrackets(scan);
  return shown(scan);
}

const STEPS: Readonly<Record<string, (scan: Scan) => void>> = {
  "\\": stepEscape,
  "`": stepCode,
  $: stepFormula,
  "<": stepAngle,
  "&": stepEntity,
  "[": stepOpen,
  "]": stepClose,
  "!": stepImage,
  "*": stepRun,
  _: stepRun,
  "~": stepRun,
};

const SPECIAL = /[\\`$<&[\]!*_~]/g;

function step(scan: Scan): void {
  SPECIAL.lastIndex = scan.at;
  const found = SPECIAL.exec(scan.text);
  scan.at = found === null ? scan.end : found.index;
  if (found !== null) STEPS[found[0]]?.(scan);
}

function hold(scan: Scan, at: number): void {
  scan.end = at;
  scan.at = at;
}

function stepEscape(scan: Scan): void {
  const formula = scan.math ? readFormula(scan.text, scan.at) : null;
  if (scan.at + 1 >= scan.text.length || formula === "open") hold(scan, scan.at);
  else scan.at = formula?.end ?? scan.at + 2;
}

function stepFormula(scan: Scan): void {
  const formula = scan.math ? readFormula(scan.text, scan.at) : null;
  const isLast = scan.math && scan.at + 1 >= scan.text.length;
  if (isLast || formula === "open") hold(scan, scan.at);
  else scan.at = formula?.end ?? scan.at + 1;
}

function runLength(text: string, at: number): number {
  const mark = text[at];
  let end = at;
  while (text[end] === mark) end += 1;
  return end - at;
}

/** An open code span is code to the end of what has come; it ends as it began. */
function stepCode(scan: Scan): void {
  const { text, at } = scan;
  const length = runLength(text, at);
  if (at + length >= text.length) {
    hold(scan, at);
    return;
  }
  for (let next = text.indexOf("`", at + length); next >= 0; ) {
    const other = runLength(text, next);
    if (other === length && next + other < text.length) {
      scan.at = next + other;
      return;
    }
    if (next + other >= text.length) {
      scan.end = next;
      break;
    }
    next = text.indexOf("`", next + other);
  }
  if (text.slice(at + length, scan.end).trim() === "") {
    hold(scan, at);
    return;
  }
  scan.suffix = "`".repeat(length);
  scan.at = scan.end;
}

const AUTOLINK = /<(?:[A-Za-z][A-Za-z0-9+.-]{1,31}:[^\s<>]*|[\w.!#$%&'*+/=?^`{|}~-]+@[\w.-]+)>/y;
const AUTOLINK_BEGUN = /<(?:[A-Za-z][^\s<>]*)?$/y;

function stepAngle(scan: Scan): void {
  AUTOLINK.lastIndex = scan.at;
  const whole = AUTOLINK.exec(scan.text);
  AUTOLINK_BEGUN.lastIndex = scan.at;
  if (whole !== null) scan.at += whole[0].length;
  else if (scan.text.length - scan.at < HELD && AUTOLINK_BEGUN.test(scan.text)) hold(scan, scan.at);
  else scan.at += 1;
}

const ENTITY_BEGUN = /&#?[A-Za-z0-9]{0,31}$/y;

function stepEntity(scan: Scan): void {
  ENTITY_BEGUN.lastIndex = scan.at;
  if (ENTITY_BEGUN.test(scan.text)) hold(scan, scan.at);
  else scan.at += 1;
}

function stepImage(scan: Scan): void {
  if (scan.at + 1 >= scan.text.length) {
    hold(scan, scan.at);
    return;
  }
  scan.at += 1;
  if (scan.text[scan.at] === "[") open(scan, true);
}

function stepOpen(scan: Scan): void {
  open(scan, false);
}

function open(scan: Scan, isImage: boolean): void {
  scan.brackets.push({ at: scan.at, isImage, runs: scan.runs.runs.length });
  scan.at += 1;
}

const LABEL = /\[(?:[^[\]\\]|\\[\s\S])*\]/y;

function stepClose(scan: Scan): void {
  const { text, at } = scan;
  const bracket = scan.brackets.pop();
  scan.at += 1;
  if (bracket === undefined) return;
  const next = text[at + 1];
  const isNote = text[bracket.at + 1] === "^";
  if (next === undefined && !isNote) {
    holdLink(scan, bracket, at);
    return;
  }
  if (next !== "(" && next !== "[") return;
  const end = next === "(" ? readAddress(text, at + 1)?.end : labelEnd(text, at + 1);
  if (end !== undefined) {
    scan.at = end;
    scan.runs.cut(bracket.runs);
  } else if (!isRefused(text, at + 1)) holdLink(scan, bracket, at);
}

function labelEnd(text: string, at: number): number | undefined {
  LABEL.lastIndex = at;
  return LABEL.test(text) ? LABEL.lastIndex : undefined;
}

/** Whether what follows a bracket can be no address or label any more. */
function isRefused(text: string, at: number): boolean {
  const rest = text.slice(at + 1).trimStart();
  if (rest.length > 2000) return true;
  if (text[at] === "[") return /^[^\]\\]*\[/.test(rest);
  if (rest.startsWith("<")) return /^<[^>]*\n/.test(rest);
  return /^[^\s"'()\\]*\s+[^\s"'()]/.test(rest) || /^[^()\\]*\)/.test(rest);
}

/** A link that is not whole shows its text; an image shows nothing. */
function holdLink(scan: Scan, bracket: Bracket, close: number): void {
  if (bracket.isImage) {
    hold(scan, bracket.at - 1);
    return;
  }
  scan.dropped.push(bracket.at);
  hold(scan, close);
}

function stepRun(scan: Scan): void {
  const { text, at } = scan;
  const run = runAt(text, at);
  if (run.end >= text.length) {
    hold(scan, at);
    return;
  }
  scan.at = run.end;
  if (run.closes) scan.runs.close(run, () => {});
  if (run.opens && run.left > 0) scan.runs.runs.push(run);
}

/** Brackets that are still open: an image or a footnote is not shown, of a link the text is. */
function closeBrackets(scan: Scan): void {
  for (const { at, isImage } of scan.brackets) {
    if (scan.text.length - at >= HELD) continue;
    if (isImage) scan.end = Math.min(scan.end, at - 1);
    else if (scan.text[at + 1] === "^" || at + 1 >= scan.end) scan.end = Math.min(scan.end, at);
    else scan.dropped.push(at);
  }
}

function shown(scan: Scan): string {
  const isCode = scan.suffix !== "";
  let end = scan.end;
  const runs = scan.runs.runs.filter((run) => run.start < end);
  for (;;) {
    while (!isCode && end > 0 && /\s/.test(scan.text[end - 1] ?? "")) end -= 1;
    const last = runs.at(-1);
    if (isCode || last === undefined || last.end < end) break;
    end = last.end - last.left;
    runs.pop();
  }
  return without(scan.text.slice(0, end), scan.dropped) + scan.suffix + closersOf(runs);
}

function without(text: string, dropped: readonly number[]): string {
  let left = "";
  let from = 0;
  for (const at of [...new Set(dropped)].sort((one, other) => one - other)) {
    if (at >= text.length) break;
    left += text.slice(from, at);
    from = at + 1;
  }
  return left + text.slice(from);
}
