/** A run of `*`, `_` or `~` that may open or close emphasis (CommonMark 6.2). */
export interface Run {
  readonly type: "run";
  readonly mark: string;
  readonly start: number;
  readonly end: number;
  readonly opens: boolean;
  readonly closes: boolean;
  /** How many of its marks have no partner yet. */
  left: number;
}

export function runAt(text: string, start: number): Run {
  const mark = text[start] ?? "";
  let end = start;
  while (text[end] === mark) end += 1;
  // Strikethrough has one or two tildes (GFM 6.5).
  const sides = mark === "~" && end - start > 2 ? { opens: false, closes: false } : sidesOf(text, start, end);
  return { type: "run", mark, start, end, ...sides, left: end - start };
}

/** Whether a run may open or close, by what stands on its two sides. */
function sidesOf(text: string, start: number, end: number): { opens: boolean; closes: boolean } {
  const before = text[start - 1] ?? " ";
  const after = text[end] ?? " ";
  const left = !isBlank(after) && (!isPunctuation(after) || isBlank(before) || isPunctuation(before));
  const right = !isBlank(before) && (!isPunctuation(before) || isBlank(after) || isPunctuation(after));
  if (text[start] !== "_") return { opens: left, closes: right };
  return { opens: left && (!right || isPunctuation(before)), closes: right && (!left || isPunctuation(after)) };
}

function isBlank(unit: string): boolean {
  return unit <= " " || (unit >= "\u0080" && /\s/.test(unit));
}

/** ASCII is looked at without a Unicode class, which takes milliseconds to be made. */
function isPunctuation(unit: string): boolean {
  if (unit >= "\u0080") return /[\p{P}\p{S}]/u.test(unit);
  return unit > " " && unit < "\u007f" && !/[A-Za-z\d]/.test(unit);
}

/** The rule of three: runs of which one both opens and closes pair only if their lengths allow it. */
function isPair(opener: Run, closer: Run): boolean {
  if (opener.mark !== closer.mark) return false;
  const first = opener.end - opener.start;
  const second = closer.end - closer.start;
  if (closer.mark === "~") return first === second;
  if (!opener.closes && !closer.opens) return true;
  return (first + second) % 3 !== 0 || (first % 3 === 0 && second % 3 === 0);
}

/**
 * Runs that are open. A run that comes is paired with them, innermost first, by the rules of CommonMark's appendix.
 *
 * How far down was looked in vain is remembered for each kind of closer, so that all looking together is linear.
 */
export class OpenRuns {
  readonly runs: Run[] = [];
  readonly #floors = new Map<string, number>();

  /** Let a run close what is open: `onPair` is told of each pair, once the marks that it takes are off both. */
  close(closer: Run, onPair: (opener: Run, marks: number) => void): void {
    const { runs } = this;
    const kind = `${closer.mark}${closer.opens}${(closer.end - closer.start) % 3}`;
    const floor = closer.mark === "~" ? 0 : (this.#floors.get(kind) ?? 0);
    for (let at = runs.length - 1; at >= floor && closer.left > 0; ) {
      const opener = runs[at];
      if (opener === undefined || !isPair(opener, closer)) {
        at -= 1;
        continue;
      }
      const marks = closer.mark === "~" ? closer.left : Math.min(opener.left, closer.left) >= 2 ? 2 : 1;
      opener.left -= marks;
      closer.left -= marks;
      this.cut(opener.left > 0 ? at + 1 : at);
      onPair(opener, marks);
      if (opener.left === 0) at -= 1;
    }
    if (closer.left > 0) this.#floors.set(kind, runs.length);
  }

  cut(length: number): void {
    if (this.runs.length <= length) return;
    this.runs.length = length;
    for (const [kind, floor] of this.#floors) if (floor > length) this.#floors.set(kind, length);
  }
}

/** What closes all that is open, innermost first. */
export function closersOf(open: readonly Run[]): string {
  return open
    .map((run) => run.mark.repeat(run.left))
    .reverse()
    .join("");
}
