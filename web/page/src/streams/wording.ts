/** What the page's table of words says of a stream, and words that only this view has. */

import { labelOf, reasonFor, say } from "../words.ts";
import type { Attempt } from "./attempt.ts";
import { isRunning, type Stream, type StreamState } from "./stream.ts";

/** Shown for what the relay does not tell. */
export const UNKNOWN = "unknown";

/** Returns the state in one or two words. */
export function stateWord(state: StreamState): string {
  return state === "unknown" ? "Unknown" : labelOf(state);
}

/** Returns how it stands or how it ended, in plain words. */
export function standingOf(stream: Stream): string {
  const { state, cause, message, completionTokens } = stream;
  return state === "unknown"
    ? "In a state this page does not know"
    : say({ state, cause, message, tokens: completionTokens });
}

/** Returns why it ended in plain words; null while it runs, and where the state's word says it all. */
export function endWords(stream: Stream): string | null {
  const words = standingOf(stream);
  return isRunning(stream) || words === stateWord(stream.state) ? null : words;
}

/** Returns who counted the tokens. */
export function counterWords(source: string | null): string | null {
  switch (source) {
    case "engine":
      return "counted by the engine";
    case "counted":
      return "counted by the relay";
    default:
      return null;
  }
}

/** Returns whether the store holds all of the stream. */
export function durabilityWords(durability: string | null): string {
  switch (durability) {
    case "durable":
      return "Kept in the store";
    case "degraded":
      return "Not all of it is in the store";
    default:
      return UNKNOWN;
  }
}

/** Why an engine was asked. */
const KINDS: Readonly<Record<string, string>> = {
  first: "First try",
  retry: "Tried again",
  failover: "Another engine instead",
  continuation: "To go on where it broke off",
  replay: "To give it once more, and go on",
};

/** Returns why an attempt was made; a reason that this page does not know as it is. */
export function kindWords(kind: string | null): string {
  return kind !== null && Object.hasOwn(KINDS, kind) ? (KINDS[kind] ?? kind) : (kind ?? UNKNOWN);
}

/** Returns how an attempt ended, or stands. */
export function attemptWords({ endedAt, cause, firstContentAt }: Attempt): string {
  if (endedAt === null) {
    return firstContentAt === null ? "Waiting for its first token" : "Answering";
  }
  return cause === null ? UNKNOWN : reasonFor(cause);
}
