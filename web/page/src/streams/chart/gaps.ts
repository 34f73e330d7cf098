/** Stretches of a log in which nothing was flushed for remarkably long. */

/** No stretch shorter than this is a gap, in seconds. */
export const SHORTEST_GAP_S = 1;

/** Nor one that is not this many times the median stretch: a slow engine has no gaps, it is slow. */
export const MEDIAN_TIMES = 5;

export interface Gap {
  /** Seconds since the stream was accepted. */
  readonly fromS: number;
  readonly toS: number;
  /** It lasts still. */
  readonly isOpen: boolean;
}

/**
 * Returns the gaps, in order of time.
 *
 * @param times When flushes were made, ascending, in seconds.
 * @param stepS Median time between two of them.
 * @param over The stretch looked at: what ends before `fromS` (waiting for the first token) is no gap; what lies between
 *   the last flush and `toS` may be one, and lasts still when the stream `isOpen`.
 */
export function gapsIn(
  times: readonly number[],
  stepS: number,
  over: { readonly fromS: number; readonly toS: number; readonly isOpen: boolean },
): Gap[] {
  const least = threshold(stepS);
  const gaps: Gap[] = [];
  for (const [index, fromS] of times.entries()) {
    const next = times[index + 1];
    const toS = next ?? over.toS;
    if (toS - fromS > least && toS > over.fromS) {
      gaps.push({ fromS, toS, isOpen: next === undefined && over.isOpen });
    }
  }
  return gaps;
}

/** Returns the length that a gap has to exceed, in seconds. */
export function threshold(stepS: number): number {
  return Math.max(SHORTEST_GAP_S, MEDIAN_TIMES * stepS);
}

/** Returns the median time between two flushes, in seconds; 0 when there are not two. */
export function medianStep(times: readonly number[]): number {
  const steps = Float64Array.from(times.slice(1), (time, index) => time - (times[index] ?? time)).sort();
  const middle = steps.length / 2;
  const upper = steps[Math.floor(middle)] ?? 0;
  return Number.isInteger(middle) ? ((steps[middle - 1] ?? upper) + upper) / 2 : upper;
}
