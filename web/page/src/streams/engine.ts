/** How the engines do, as `GET /v1/engines` tells admins: one line a model of an engine. */

import { listOf, numberOf, objectOf, textOf } from "./json.ts";

/** Most lines that are read. */
const MAX_READ = 200;

/** How one model of one engine has done of late; null is "unknown". */
export interface EngineHealth {
  readonly engine: string;
  /** As the engine knows it; null when it decides. */
  readonly model: string | null;
  /** How the relay takes it now: "ready", "probing" or "resting". */
  readonly standing: string | null;
  /** How long it still rests, in seconds. */
  readonly readyInS: number;
  readonly isSlow: boolean;
  readonly failuresInARow: number;
  readonly requests: number;
  readonly failed: number;
  /** Answered with 429. */
  readonly limited: number;
  /** From asking it to its first content, in seconds; null when there was none of late. */
  readonly firstTokenP50S: number | null;
  readonly firstTokenP90S: number | null;
}

/** Returns the engines of a report; what has no name is left out. */
export function readEngines(value: unknown): readonly EngineHealth[] {
  const found = listOf(objectOf(value)?.data).slice(0, MAX_READ).map(readEngine);
  return found.filter((one) => one !== null);
}

function readEngine(value: unknown): EngineHealth | null {
  const fields = objectOf(value);
  const engine = textOf(fields?.engine);
  if (fields === null || engine === null) {
    return null;
  }
  const firstToken = objectOf(fields.first_token);
  return {
    engine,
    model: textOf(fields.model),
    standing: textOf(fields.standing),
    readyInS: numberOf(fields.ready_in_s) ?? 0,
    isSlow: fields.is_slow === true,
    failuresInARow: numberOf(fields.failures_in_a_row) ?? 0,
    requests: numberOf(fields.requests) ?? 0,
    failed: numberOf(fields.failed) ?? 0,
    limited: numberOf(fields.limited) ?? 0,
    firstTokenP50S: numberOf(firstToken?.p50_s),
    firstTokenP90S: numberOf(firstToken?.p90_s),
  };
}
