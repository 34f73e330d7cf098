/** The tries that a stream took, as its JSON tells of them. Words that this page does not know are kept as they are. */

import { amountOf } from "../money.ts";
import { listOf, numberOf, objectOf, textOf } from "./json.ts";

/** Most of them that are read; the relay makes far fewer. */
const MAX_READ = 100;

/** One try at one engine; null is "unknown" or "not yet". Times are Unix seconds. */
export interface Attempt {
  readonly engine: string | null;
  /** As the engine knows it; null when it decides. */
  readonly model: string | null;
  /** Why it was made: "first", "retry", "failover", "continuation" or "replay". */
  readonly kind: string | null;
  readonly startedAt: number;
  /** From the failure before it to its start, in seconds. */
  readonly waitedS: number;
  readonly firstContentAt: number | null;
  /** Null while it runs. */
  readonly endedAt: number | null;
  readonly cause: string | null;
  /** The engine's HTTP status, where it was an error. */
  readonly status: number | null;
  readonly message: string | null;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
  /** US dollars; null when no price is known. */
  readonly usd: number | null;
}

/** Where the answer goes on with another attempt's text. */
export interface Seam {
  /** Of the first entry behind it. */
  readonly offset: number;
  /** Unix seconds. */
  readonly at: number;
  /** "continuation" or "replay". */
  readonly kind: string | null;
  /** Why the attempt before it ended. */
  readonly cause: string | null;
  readonly toEngine: string | null;
  readonly toModel: string | null;
}

/** Returns when nobody was asked before an attempt, Unix seconds: from the end of the one before it to its start. */
export function waitBefore(attempts: readonly Attempt[], index: number): { from: number; to: number } | null {
  const [before, attempt] = [attempts[index - 1], attempts[index]];
  if (before === undefined || attempt === undefined) {
    return null;
  }
  const { startedAt, waitedS } = attempt;
  return { from: Math.min(startedAt, before.endedAt ?? startedAt - waitedS), to: startedAt };
}

/** Returns the attempts of a list; what says not when it began is none. */
export function readAttempts(value: unknown): readonly Attempt[] {
  return readEach(value, readAttempt);
}

/** Returns the seams of a list; what says not where it is is none. */
export function readSeams(value: unknown): readonly Seam[] {
  return readEach(value, readSeam);
}

function readEach<T>(value: unknown, read: (value: unknown) => T | null): readonly T[] {
  const found = listOf(value).slice(0, MAX_READ).map(read);
  return found.filter((one) => one !== null);
}

/** Counts and waits of zero are left out of the relay's JSON. */
function readAttempt(value: unknown): Attempt | null {
  const fields = objectOf(value);
  const startedAt = numberOf(fields?.started_at);
  if (fields === null || startedAt === null) {
    return null;
  }
  return {
    engine: textOf(fields.engine),
    model: textOf(fields.model),
    kind: textOf(fields.kind),
    startedAt,
    waitedS: numberOf(fields.waited_s) ?? 0,
    firstContentAt: numberOf(fields.first_content_at),
    endedAt: numberOf(fields.ended_at),
    cause: textOf(fields.cause),
    status: numberOf(fields.status),
    message: textOf(fields.message),
    promptTokens: numberOf(fields.prompt_tokens) ?? 0,
    cachedTokens: numberOf(fields.cached_tokens) ?? 0,
    completionTokens: numberOf(fields.completion_tokens) ?? 0,
    usd: amountOf(fields.usd),
  };
}

function readSeam(value: unknown): Seam | null {
  const fields = objectOf(value);
  const [offset, at] = [numberOf(fields?.offset), numberOf(fields?.at)];
  if (fields === null || offset === null || at === null) {
    return null;
  }
  return {
    offset,
    at,
    kind: textOf(fields.kind),
    cause: textOf(fields.cause),
    toEngine: textOf(fields.to_engine),
    toModel: textOf(fields.to_model),
  };
}
