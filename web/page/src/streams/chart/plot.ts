/**
 * What the timeline shows, before anybody thinks of pixels: times are seconds since the stream was accepted; of a log that was
 * there before, since its first flush.
 */

import { isRunning, type Stream } from "../stream.ts";
import type { Flush } from "../timeline.ts";
import { type Gap, gapsIn, medianStep } from "./gaps.ts";
import { type Recovery, recoveryOf } from "./recovery.ts";

export interface Plot {
  readonly flushes: readonly Flush[];
  /** When each of them was committed; never back in time. */
  readonly times: readonly number[];
  /** Median time between two of them; 0 when there are not two. */
  readonly stepS: number;
  /** Entries up to and with each of them. */
  readonly totals: readonly number[];
  /** When the stream was accepted; null: after the log had ended. */
  readonly acceptedS: number | null;
  /** First content; null: not yet, or never. */
  readonly firstTokenS: number | null;
  /** End of the stream; null while it runs, or when unknown. */
  readonly endS: number | null;
  /** End of the time axis, more than 0. */
  readonly spanS: number;
  readonly gaps: readonly Gap[];
  readonly recovery: Recovery;
  /** The log is another request's, which began it before this stream was accepted. */
  readonly isOlder: boolean;
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
  const firstS = flushes[0]?.at ?? nowS;
  const isOlder = stream.logId !== stream.id && firstS < (stream.createdAt ?? firstS);
  const startS = isOlder ? firstS : (stream.createdAt ?? firstS);
  const times = timesSince(startS, flushes);
  const stepS = medianStep(times);
  const lastS = times.at(-1) ?? 0;
  const since = (at: number | null) => (at === null ? null : Math.max(0, at - startS));
  const firstTokenS = isOlder ? null : since(stream.firstContentAt);
  // What was whole before it was asked for ended long before this request did.
  const isWhole = isOlder && startS + lastS < (stream.createdAt ?? 0);
  const endS = isWhole ? null : since(stream.endedAt);
  const runs = isRunning(stream) && !isWhole;
  const reachedS = Math.max(lastS, firstTokenS ?? 0, endS ?? (runs ? nowS - startS : 0));
  return {
    flushes,
    times,
    stepS,
    totals: runningTotals(flushes),
    acceptedS: isWhole ? null : since(stream.createdAt ?? startS),
    firstTokenS,
    endS,
    spanS: Math.max(MIN_SPAN_S, reachedS),
    gaps: gapsIn(times, stepS, { fromS: firstTokenS ?? 0, toS: reachedS, isOpen: runs }),
    recovery: recoveryOf(stream, startS, stream.endedAt ?? nowS),
    isOlder,
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
