/**
 * What the timeline shows, before anybody thinks of pixels: times are seconds since the stream was accepted.
 */

import { isRunning, type Stream } from "../stream.ts";
import type { Flush } from "../timeline.ts";
import { type Gap, gapsIn, medianStep } from "./gaps.ts";

export interface Plot {
  readonly flushes: readonly Flush[];
  /** When each of them was committed; never back in time. */
  readonly times: readonly number[];
  /** Median time between two of them; 0 when there are not two. */
  readonly stepS: number;
  /** Entries up to and with each of them. */
  readonly totals: readonly number[];
  /** First content; null: not yet, or never. */
  readonly firstTokenS: number | null;
  /** End of the stream; null while it runs, or when unknown. */
  readonly endS: number | null;
  /** End of the time axis, more than 0. */
  readonly spanS: number;
  readonly gaps: readonly Gap[];
}

/** Shortest axis, so that a stream refused at once still has one. */
const MIN_SPAN_S = 0.01;

/**
 * Returns what to draw of a stream.
 *
 * @param stream Says when it was accepted, got its first content, and ended.
 * @param flushes Of its log, by offset.
 * @param nowS Unix seconds; how far a running stream has come.
 */
export function plotOf(stream: Stream, flushes: readonly Flush[], nowS: number): Plot {
  const startS = stream.createdAt ?? flushes[0]?.at ?? nowS;
  const times = timesSince(startS, flushes);
  const stepS = medianStep(times);
  const lastS = times.at(-1) ?? 0;
  const since = (at: number | null) => (at === null ? null : Math.max(0, at - startS));
  const firstTokenS = since(stream.firstContentAt);
  const endS = since(stream.endedAt);
  const reachedS = Math.max(lastS, firstTokenS ?? 0, endS ?? (isRunning(stream) ? nowS - startS : 0));
  return {
    flushes,
    times,
    stepS,
    totals: runningTotals(flushes),
    firstTokenS,
    endS,
    spanS: Math.max(MIN_SPAN_S, reachedS),
    gaps: gapsIn(times, stepS, { fromS: firstTokenS ?? 0, toS: reachedS, isOpen: isRunning(stream) }),
  };
}

function timesSince(startS: number, flushes: readonly Flush[]): number[] {
  let latest = 0;
  return flushes.map((flush) => {
    latest = Math.max(latest, flush.at - startS);
    return latest;
  });
}

function runningTotals(flushes: readonly Flush[]): number[] {
  let total = 0;
  return flushes.map((flush) => {
    total += flush.entries;
    return total;
  });
}
