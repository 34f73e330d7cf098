/** How a stream stands, in one union; the last four are final. */

import type { Outcome } from "./session.ts";

export type StreamStatus =
  | { readonly state: "waiting" }
  | { readonly state: "streaming" }
  | { readonly state: "reconnecting"; readonly attempt: number; readonly waitMs: number; readonly reason: string }
  | { readonly state: "completed"; readonly cause: string; readonly finishReason: string | null }
  | { readonly state: "cancelled"; readonly cause: string; readonly message: string | null }
  | {
      readonly state: "truncated";
      readonly cause: string;
      readonly message: string | null;
      /** `attach(streamId, {after: lastOffset})` may bring the rest. */
      readonly canResume: boolean;
    }
  | {
      readonly state: "failed";
      readonly cause: string;
      readonly message: string | null;
      readonly status: number | null;
      readonly retryAfterMs: number | null;
    };

/** How a stream stands that `detach` left: its end is not known, and it can be attached to. */
export const DETACHED: StreamStatus = { state: "truncated", cause: "detached", message: null, canResume: true };

/** True for a status that nothing follows. */
export function isFinal(status: StreamStatus): boolean {
  return status.state !== "waiting" && status.state !== "streaming" && status.state !== "reconnecting";
}

/** Returns the status that an outcome comes to. */
export function statusOf(outcome: Outcome): StreamStatus {
  const { ending } = outcome;
  if (ending === null) return statusOfUnknownEnd(outcome);
  const { cause, message } = ending;
  switch (ending.state) {
    case "completed":
      return { state: "completed", cause, finishReason: ending.finishReason };
    case "cancelled":
      return { state: "cancelled", cause, message };
    case "truncated":
      return { state: "truncated", cause, message, canResume: false };
    case "failed": {
      const status = ending.status ?? outcome.fault?.status ?? null;
      const retryAfterMs = ending.retryAfterMs ?? outcome.fault?.retryAfterMs ?? null;
      return { state: "failed", cause, message: message ?? outcome.fault?.message ?? null, status, retryAfterMs };
    }
  }
}

/** The cause where nobody told the end. */
const UNKNOWN_ENDS = new Map([
  ["lost", "connection_lost"],
  ["not_found", "stream_not_found"],
  ["gone", "stream_gone"],
  ["protocol", "protocol_error"],
]);

function statusOfUnknownEnd({ fault, gaveUp, phase, streamId, lastOffset }: Outcome): StreamStatus {
  if (fault === null) return DETACHED;
  const { message, status, retryAfterMs } = fault;
  const isBegun = phase === "following" || phase === "attaching";
  if (gaveUp && isBegun) {
    return { state: "truncated", cause: "connection_lost", message, canResume: streamId !== null };
  }
  const cause = UNKNOWN_ENDS.get(fault.kind) ?? fault.code ?? `${fault.kind}_error`;
  const hasEntries = lastOffset >= 0 && phase === "following";
  return hasEntries
    ? { state: "truncated", cause, message, canResume: false }
    : { state: "failed", cause, message, status, retryAfterMs };
}
