/**
 * What the timeline shows of a stream that took more than one try: each try, the waits between them, and the seams. Times are
 * seconds since the timeline's start.
 */

import { lowered, reasonFor } from "../../words.ts";
import { type Attempt, type Seam, waitBefore } from "../attempt.ts";
import type { Stream } from "../stream.ts";
import { UNKNOWN } from "../wording.ts";

export interface Span {
  readonly fromS: number;
  readonly toS: number;
}

/** One try, from asking the engine to its end. */
export interface Try extends Span {
  /** Another one had to follow, or it was the last and failed like those before. */
  readonly isLost: boolean;
}

export interface PlottedSeam {
  /** Of the first entry behind it. */
  readonly offset: number;
  /** When the answer broke off. */
  readonly brokeS: number;
  /** When it went on. */
  readonly atS: number;
  /** What went on. */
  readonly engine: string;
  /** What happened, as one sentence without its end. */
  readonly words: string;
}

export interface Recovery {
  /** None while the first try is all there was. */
  readonly tries: readonly Try[];
  /** Between two tries before the first token, when nobody was asked. */
  readonly waits: readonly Span[];
  readonly seams: readonly PlottedSeam[];
}

/** No wait shorter than this is one, in seconds: it takes as long to turn to another engine. */
const SHORTEST_WAIT_S = 0.01;

/**
 * Returns what to draw.
 *
 * @param stream Its attempts and seams.
 * @param startS Where the timeline begins, Unix seconds.
 * @param untilS Where it ends, likewise; how far a running try has come.
 */
export function recoveryOf(stream: Stream, startS: number, untilS: number): Recovery {
  const { attempts, seams } = stream;
  const since = (at: number) => Math.max(0, at - startS);
  const isLostAtLast = stream.state === "failed" || stream.state === "truncated";
  const tryOf = ({ startedAt, endedAt }: Attempt, index: number): Try => {
    const fromS = since(startedAt);
    const isLost = isLostAtLast || index < attempts.length - 1;
    return { fromS, toS: Math.max(fromS, since(endedAt ?? untilS)), isLost };
  };
  return {
    tries: attempts.length < 2 ? [] : attempts.map(tryOf),
    waits: waitsOf(attempts, since),
    seams: seams.map((seam) => seamOf(seam, attempts, since)),
  };
}

function waitsOf(attempts: readonly Attempt[], since: (at: number) => number): Span[] {
  const first = attempts.findIndex(({ firstContentAt }) => firstContentAt !== null);
  const before = first < 0 ? attempts : attempts.slice(0, first + 1);
  return before
    .map((_, index) => waitBefore(attempts, index))
    .filter((wait) => wait !== null)
    .filter(({ from, to }) => to - from >= SHORTEST_WAIT_S)
    .map(({ from, to }) => ({ fromS: since(from), toS: since(to) }));
}

function seamOf(seam: Seam, attempts: readonly Attempt[], since: (at: number) => number): PlottedSeam {
  const engine = seam.toEngine ?? UNKNOWN;
  const broken = attempts.findLast(
    ({ endedAt, firstContentAt }) => endedAt !== null && endedAt <= seam.at && firstContentAt !== null,
  );
  return {
    offset: seam.offset,
    brokeS: since(broken?.endedAt ?? seam.at),
    atS: since(seam.at),
    engine,
    words: `${seam.cause === null ? "it broke off" : lowered(reasonFor(seam.cause))}; ${nextOf(seam, engine)}`,
  };
}

function nextOf({ kind, toModel }: Seam, engine: string): string {
  const who = toModel === null ? engine : `${engine} (${toModel})`;
  return kind === "replay" ? `${who} gives the same answer once more, and goes on` : `${who} goes on`;
}
