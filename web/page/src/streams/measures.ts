/** What follows from the facts of a stream: how long, how fast. `nowS` is Unix seconds. */

import { isRunning, type Stream } from "./stream.ts";

/** Shortest time over which a rate says anything, in seconds. */
const MIN_RATE_TIME_S = 0.05;

/** Returns seconds since the stream was accepted. */
export function ageOf(stream: Stream, nowS: number): number | null {
  return stream.createdAt === null ? null : Math.max(0, nowS - stream.createdAt);
}

/** Returns how long it ran, or has run until now, in seconds. */
export function durationOf(stream: Stream, nowS: number): number | null {
  return between(stream.createdAt, endOf(stream, nowS));
}

/** Returns seconds from accepted to first content (TTFT as the relay measures it). */
export function ttftOf(stream: Stream): number | null {
  return between(stream.createdAt, stream.firstContentAt);
}

/** Returns tokens a second after the first one; null while there is too little to tell. */
export function rateOf(stream: Stream, nowS: number): number | null {
  const time = between(stream.firstContentAt, endOf(stream, nowS));
  const tokens = stream.completionTokens;
  return time === null || time < MIN_RATE_TIME_S || tokens === null || tokens < 2 ? null : (tokens - 1) / time;
}

function endOf(stream: Stream, nowS: number): number | null {
  return stream.endedAt ?? (isRunning(stream) ? nowS : null);
}

function between(from: number | null, to: number | null): number | null {
  return from === null || to === null ? null : Math.max(0, to - from);
}
