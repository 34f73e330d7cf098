/** A stream as `GET /v1/streams` and `GET /v1/streams/{id}` tell of it. */

import { billOf } from "../relay/bill.ts";
import type { AnswerBill } from "../store/types.ts";
import { type Attempt, readAttempts, readSeams, type Seam } from "./attempt.ts";
import { listOf, numberOf, objectOf, textOf } from "./json.ts";

/** States in the order of a stream's life; the first two still run. */
export const STATES = ["queued", "in_progress", "completed", "cancelled", "truncated", "failed"] as const;
export type StreamState = (typeof STATES)[number] | "unknown";

/** What a client saw of the stream, as it reported it; milliseconds since it asked. */
export interface Perceived {
  readonly firstByteMs: number | null;
  readonly firstTokenMs: number | null;
  readonly firstVisibleMs: number | null;
  /** Time per output token. */
  readonly tpotMs: number | null;
  readonly totalMs: number | null;
  readonly reconnects: number | null;
  readonly transport: string | null;
}

/** One stream; null is "unknown" or "not yet". Times are Unix seconds. */
export interface Stream {
  readonly id: string;
  readonly state: StreamState;
  readonly cause: string | null;
  /** What went wrong, in the relay's words. */
  readonly message: string | null;
  readonly finishReason: string | null;
  readonly model: string | null;
  /** Which answers, or answered last. */
  readonly engine: string | null;
  /** What that calls the model; null when it decides. */
  readonly engineModel: string | null;
  /** Where the answer comes from: "engine", or another request's stream: "joined", "repeated" or "cache". */
  readonly source: string | null;
  /** The stream that holds its log: another one, where another request began it. */
  readonly logId: string;
  /** Every try at an engine, oldest first; none while the first one is all there was. */
  readonly attempts: readonly Attempt[];
  readonly seams: readonly Seam[];
  /** Within how many seconds the first token had to come, all attempts together; null with one attempt. */
  readonly retryBudgetS: number | null;
  readonly requestId: string | null;
  /** Whose it is; null also while the relay has no keys. */
  readonly owner: string | null;
  /** The client key that it was asked for with. */
  readonly keyId: string | null;
  /** What its cost is told apart by. */
  readonly tags: readonly (readonly [name: string, value: string])[];
  readonly createdAt: number | null;
  readonly firstContentAt: number | null;
  readonly endedAt: number | null;
  readonly promptTokens: number | null;
  readonly completionTokens: number | null;
  /** "engine" or "counted" (by the relay). */
  readonly tokensSource: string | null;
  /** What the engine made, and what clients were given, as the relay counts. */
  readonly generatedTokens: number | null;
  readonly deliveredTokens: number | null;
  /** Null before the end. */
  readonly bill: AnswerBill | null;
  readonly bytes: number | null;
  readonly malformedChunks: number | null;
  /** "durable" or "degraded". */
  readonly durability: string | null;
  /** Clients that follow it now. */
  readonly consumers: number | null;
  /** Entries that the slowest of them has not got. */
  readonly lag: number | null;
  readonly perceived: Perceived | null;
}

/** A page of streams, newest first. */
export interface StreamPage {
  readonly streams: readonly Stream[];
  /** Whether there are older ones. */
  readonly hasMore: boolean;
}

export function isRunning(stream: Stream): boolean {
  return stream.state === "queued" || stream.state === "in_progress";
}

/** Returns the stream that a JSON value describes; null when it has no id. */
export function readStream(value: unknown): Stream | null {
  const fields = objectOf(value);
  const id = textOf(fields?.id);
  if (fields === null || id === null) {
    return null;
  }
  const usage = objectOf(fields.usage);
  return {
    id,
    state: STATES.find((state) => state === fields.state) ?? "unknown",
    cause: textOf(fields.cause),
    message: textOf(fields.message),
    finishReason: textOf(fields.finish_reason),
    model: textOf(fields.model),
    engine: textOf(fields.engine),
    engineModel: textOf(fields.engine_model),
    source: textOf(fields.source),
    logId: textOf(fields.log_id) ?? id,
    attempts: readAttempts(fields.attempts),
    seams: readSeams(fields.seams),
    retryBudgetS: numberOf(fields.retry_budget),
    requestId: textOf(fields.request_id),
    owner: textOf(fields.owner),
    keyId: textOf(fields.key_id),
    tags: readTags(fields.tags),
    createdAt: numberOf(fields.created_at),
    firstContentAt: numberOf(fields.first_content_at),
    endedAt: numberOf(fields.ended_at),
    promptTokens: numberOf(usage?.prompt_tokens),
    completionTokens: numberOf(usage?.completion_tokens),
    tokensSource: textOf(fields.tokens_source),
    generatedTokens: numberOf(fields.generated_tokens),
    deliveredTokens: numberOf(fields.delivered_tokens),
    bill: billOf(fields),
    bytes: numberOf(fields.bytes),
    malformedChunks: numberOf(fields.malformed_chunks),
    durability: textOf(fields.durability),
    consumers: numberOf(fields.consumers),
    lag: numberOf(fields.lag),
    perceived: readPerceived(fields.perceived),
  };
}

export function readStreamPage(value: unknown): StreamPage {
  const fields = objectOf(value);
  const streams = listOf(fields?.data).map(readStream);
  return { streams: streams.filter((stream) => stream !== null), hasMore: fields?.has_more === true };
}

function readTags(value: unknown): [string, string][] {
  return Object.entries(objectOf(value) ?? {}).flatMap(([name, text]) =>
    typeof text === "string" ? [[name, text]] : [],
  );
}

function readPerceived(value: unknown): Perceived | null {
  const fields = objectOf(value);
  if (fields === null) {
    return null;
  }
  return {
    firstByteMs: numberOf(fields.first_byte_ms),
    firstTokenMs: numberOf(fields.first_token_ms),
    firstVisibleMs: numberOf(fields.first_visible_ms),
    tpotMs: numberOf(fields.tpot_ms),
    totalMs: numberOf(fields.total_ms),
    reconnects: numberOf(fields.reconnects),
    transport: textOf(fields.transport),
  };
}
