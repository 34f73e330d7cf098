/** How a stream ended, as its server told it: the end object of the wire protocol. */

import { isObject, type JsonObject, numberOrNull, textOrNull } from "./json.ts";

export type EndState = "completed" | "cancelled" | "failed" | "truncated";

/** A newer relay may know more causes than this client does. */
export interface Ending {
  readonly state: EndState;
  readonly cause: string;
  /** The engine's own word. */
  readonly finishReason: string | null;
  /** OpenAI's usage object; null when nobody counted. */
  readonly usage: JsonObject | null;
  readonly message: string | null;
  /** HTTP status that the engine gave. */
  readonly status: number | null;
  readonly retryAfterMs: number | null;
  /** The engine's own error code. */
  readonly code: string | null;
}

const STATES: readonly string[] = ["completed", "cancelled", "failed", "truncated"];

/** How a stream ends that this client stopped. */
export const STOPPED: Ending = endingWith("cancelled", "client_stop");

/** Returns an end that nobody told in full. */
export function endingWith(state: EndState, cause: string, message: string | null = null): Ending {
  return { state, cause, message, finishReason: null, usage: null, status: null, retryAfterMs: null, code: null };
}

/** Returns the end of a whole answer, its cause by OpenAI's `finish_reason`; words we do not know count as `stop`. */
export function completed(finishReason: string | null): Ending {
  const cause = CAUSE_OF_FINISH.get(finishReason ?? "stop") ?? "stop";
  return { ...endingWith("completed", cause), finishReason };
}

const CAUSE_OF_FINISH = new Map([
  ["length", "length"],
  ["tool_calls", "tool_calls"],
  ["function_call", "tool_calls"],
  ["content_filter", "content_filter"],
]);

/** Returns the end that an end object, or the error object of a stream, tells; null when it tells none. */
export function endingOf(told: unknown): Ending | null {
  if (!isObject(told) || !isEndState(told.state) || typeof told.cause !== "string" || told.cause === "") return null;
  const retryAfterS = numberOrNull(told.retry_after_s);
  return {
    state: told.state,
    cause: told.cause,
    finishReason: textOrNull(told.finish_reason),
    usage: isObject(told.usage) ? told.usage : null,
    message: textOrNull(told.message),
    status: numberOrNull(told.status),
    retryAfterMs: retryAfterS === null ? null : retryAfterS * 1000,
    code: textOrNull(told.error_code),
  };
}

function isEndState(value: unknown): value is EndState {
  return typeof value === "string" && STATES.includes(value);
}
