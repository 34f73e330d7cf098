/** Settings of a client, with the usual keys and defaults. */

import type { Generation } from "./generation.ts";

/** Which figures are given. What is off is null in the metrics. */
export interface MetricsConfig {
  /** `firstByteMs`, `firstTokenMs`, `firstVisibleMs`. */
  ttft: boolean;
  tpot: boolean;
  /** `cancelMs`. */
  cancellation: boolean;
  finishReason: boolean;
  /** Tell the relay, too: `POST /v1/streams/{id}/perceived`. */
  report: boolean;
}

/**
 * Looks at text before anyone else does. Gets what is new, and whether it is the last (then `delta` may be ""); returns what may
 * be shown. What it holds back it must give later, at the end at the latest; what it never gives is gone. One function serves
 * all streams of a client: state belongs into a `WeakMap` by `generation`.
 */
export type IncrementalFilter = (delta: string, isEnd: boolean, generation: Generation) => string;

export interface StreamConfig {
  /** Where the example and the page ask. `LLM_STREAM_ENDPOINT` at build time overrides it. */
  endpoint: string;
  /** Milliseconds without a chunk, or another sign of life such as the relay's heartbeats, until a connection counts as dead. */
  timeout: number;
  /** How often a request that brought nothing is asked again. A stream that has begun is resumed for `resumeFor`. */
  retryAttempts: number;
  /** Milliseconds: ceiling of the first wait between two tries; it doubles up to 5 s, with full jitter. */
  retryDelay: number;
  /** Milliseconds between two deliveries, at least; never more than one an animation frame. */
  chunkThrottle: number;
  /** Chunks that may wait between connection and page until reading stops; what the last read brought comes on top. */
  maxBufferSize: number;
  metrics: MetricsConfig;
  incrementalFilter: false | IncrementalFilter;
  /** `max_tokens` of payloads that name none. */
  maxTokens: number;
  /** `temperature` of payloads that name none; 0 to 2. */
  temperature: number;
}

/** What a client may be given: any part of it. */
export type StreamConfigInput = Partial<Omit<StreamConfig, "metrics">> & { metrics?: Partial<MetricsConfig> };

/** The defaults. */
export const STREAM_CONFIG: Readonly<StreamConfig> = Object.freeze({
  endpoint: endpointOfBuild() || "/api/v1/chat/stream",
  timeout: 30_000,
  retryAttempts: 2,
  retryDelay: 800,
  chunkThrottle: 16,
  maxBufferSize: 50,
  metrics: Object.freeze({ ttft: true, tpot: true, cancellation: true, finishReason: true, report: false }),
  incrementalFilter: false,
  maxTokens: 2048,
  temperature: 0.7,
});

const LONGEST_MS = 24 * 60 * 60 * 1000;

/** Smallest and largest value of each number, and whether it must be whole. */
const NUMBERS = {
  timeout: [1, LONGEST_MS, false],
  retryAttempts: [0, 1000, true],
  retryDelay: [0, LONGEST_MS, false],
  chunkThrottle: [0, 10_000, false],
  maxBufferSize: [1, 1_000_000, true],
  maxTokens: [1, 2 ** 31 - 1, true],
  temperature: [0, 2, false],
} as const;

/**
 * Returns `STREAM_CONFIG` with `over` laid over it.
 *
 * @throws TypeError A field is of a wrong type, or not known.
 * @throws RangeError A number is out of range.
 */
export function configOf(over: StreamConfigInput = {}): StreamConfig {
  const metrics = { ...STREAM_CONFIG.metrics, ...(over.metrics ?? {}) };
  const config: StreamConfig = { ...STREAM_CONFIG, ...withoutUndefined(over), metrics };
  const unknown = Object.keys(config).find((name) => !(name in STREAM_CONFIG));
  if (unknown !== undefined) throw new TypeError(`config.${unknown} is not known`);
  for (const [name, [least, most, isWhole]] of Object.entries(NUMBERS)) {
    checkNumber(`config.${name}`, Reflect.get(config, name), { least, most, isWhole });
  }
  checkOthers(config);
  return config;
}

/**
 * Checks a number.
 *
 * @throws TypeError It is none. @throws RangeError It is too small or too large.
 */
export function checkNumber(
  name: string,
  value: unknown,
  { least, most, isWhole = false }: { least: number; most: number; isWhole?: boolean },
): void {
  if (typeof value !== "number") throw new TypeError(`${name} must be a number, not ${typeof value}`);
  const isFit = value >= least && value <= most && (!isWhole || Number.isInteger(value));
  if (!isFit)
    throw new RangeError(`${name} must be ${isWhole ? "a whole number " : ""}from ${least} to ${most}, not ${value}`);
}

function checkOthers({ endpoint, incrementalFilter, metrics }: StreamConfig): void {
  if (typeof endpoint !== "string" || endpoint === "") throw new TypeError("config.endpoint must be a path or URL");
  if (incrementalFilter !== false && typeof incrementalFilter !== "function") {
    throw new TypeError("config.incrementalFilter must be false or a function");
  }
  for (const [name, value] of Object.entries(metrics)) {
    if (!(name in STREAM_CONFIG.metrics)) throw new TypeError(`config.metrics.${name} is not known`);
    if (typeof value !== "boolean") throw new TypeError(`config.metrics.${name} must be true or false`);
  }
}

function withoutUndefined<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

/**
 * Reads `LLM_STREAM_ENDPOINT`. Bundlers replace the two expressions as they stand here, hence the casts, which leave no trace
 * in the built file; where there is neither a bundler nor a `process`, both are undefined.
 */
function endpointOfBuild(): string | undefined {
  return (
    (import.meta as { env?: Record<string, string | undefined> }).env?.LLM_STREAM_ENDPOINT ??
    (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.LLM_STREAM_ENDPOINT
  );
}
