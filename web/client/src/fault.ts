/** Whose fault it is: ends and error answers as one word each. Two tables. */

import type { Ending } from "./ending.ts";
import { isObject, type JsonObject, parseObject, textOrNull } from "./json.ts";

/**
 * - `request`, `not_found`, `exists`, `gone`: the caller's; there is no such stream, its id is taken, its entries are erased.
 * - `overloaded`: nobody's.
 * - `engine`, `protocol`: the engine's; `protocol` also the server's, when what it sent cannot be read.
 * - `cancelled`: somebody else stopped the stream, or it lingered too long.
 * - `relay`: the relay's own: restarted, shut down, past a deadline.
 * - `lost`: the network's; the stream may run on.
 */
export type ErrorKind =
  | "request"
  | "not_found"
  | "exists"
  | "gone"
  | "overloaded"
  | "engine"
  | "protocol"
  | "cancelled"
  | "relay"
  | "lost";

/** What went wrong, as data that a Worker can post. */
export interface Fault {
  readonly kind: ErrorKind;
  readonly message: string;
  /** The server's own word, or the cause. */
  readonly code: string | null;
  /** HTTP status; null where there was none. */
  readonly status: number | null;
  readonly retryAfterMs: number | null;
}

const BY_CAUSE = new Map<string, ErrorKind>([
  ["client_stop", "cancelled"],
  ["client_gone", "cancelled"],
  ["slow_client", "cancelled"],
  ["budget", "cancelled"],
  ["operator", "cancelled"],
  ["upstream_rejected", "engine"],
  ["upstream_unreachable", "engine"],
  ["upstream_closed", "engine"],
  ["first_token_timeout", "engine"],
  ["upstream_stalled", "engine"],
  ["upstream_protocol", "protocol"],
  ["event_too_large", "protocol"],
]);

const BY_CODE = new Map<string, ErrorKind>([
  ["stream_not_found", "not_found"],
  ["stream_exists", "exists"],
  ["stream_gone", "gone"],
  ["store_error", "relay"],
  ["overloaded", "overloaded"],
]);

/** Returns a fault without a server's words. */
export function faultOf(kind: ErrorKind, message: string): Fault {
  return { kind, message, code: null, status: null, retryAfterMs: null };
}

/** Returns the fault of a stream that ended; null for a whole answer. */
export function faultOfEnding(ending: Ending): Fault | null {
  if (ending.state === "completed") return null;
  const how = ending.state === "failed" ? "failed" : `was ${ending.state}`;
  return {
    kind: BY_CAUSE.get(ending.cause) ?? "relay",
    message: `The stream ${how}: ${ending.message ?? ending.cause.replaceAll("_", " ")}`,
    code: ending.code ?? ending.cause,
    status: ending.status,
    retryAfterMs: ending.retryAfterMs,
  };
}

/** Returns the fault that an error object tells, whoever wrote it; `status` is null in the middle of a stream. */
export function faultOfError(error: JsonObject | null, status: number | null, retryAfterMs: number | null): Fault {
  const code = textOrNull(error?.code);
  const message = textOrNull(error?.message);
  const cause = textOrNull(error?.cause);
  const byCode = code === null ? undefined : BY_CODE.get(code);
  return {
    kind: cause !== null ? (BY_CAUSE.get(cause) ?? "relay") : (byCode ?? kindOfStatus(status, error?.type)),
    message: message || (status === null ? "the server sent an error" : `the server answered ${status}`),
    code: code ?? cause,
    status,
    retryAfterMs,
  };
}

/** Returns the `error` object of a JSON text; null when it has none: then no server of this API wrote it. */
export function errorObject(text: string): JsonObject | null {
  const error = parseObject(text)?.error;
  return isObject(error) ? error : null;
}

function kindOfStatus(status: number | null, type: unknown): ErrorKind {
  if (status === 429 || type === "rate_limit_error") return "overloaded";
  if (status === null) return type === "invalid_request_error" ? "request" : "engine";
  return status >= 400 && status < 500 ? "request" : "relay";
}
