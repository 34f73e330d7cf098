/**
 * The words for every state and every end, for people: one table, used by the chat and by the list of streams.
 *
 * Causes are those of docs/wire-protocol.md, and those of `@headrace/client` where nobody told the end, such as
 * `connection_lost`.
 */

/** What there is to say something about: a status of the client, or a stream as the relay's JSON shows it. */
export interface Standing {
  /** A state of the client (waiting, streaming, …) or of the relay (queued, in_progress, …). */
  readonly state: string;
  readonly cause?: string | null;
  /** What went wrong, as the relay or the client says it. */
  readonly message?: string | null;
  /** Tokens that came before the end; nothing when not known. */
  readonly tokens?: number | null;
  /** How long the engine asks us to wait, in milliseconds. */
  readonly retryAfterMs?: number | null;
}

const OPEN = {
  waiting: "Waiting for the first token…",
  queued: "Waiting for the first token…",
  streaming: "Answering…",
  in_progress: "Answering…",
  reconnecting: "Connection lost, resuming…",
} as const;

/** One word for a badge. */
const LABELS: Readonly<Record<string, string>> = {
  waiting: "Waiting",
  queued: "Waiting",
  streaming: "Running",
  in_progress: "Running",
  reconnecting: "Reconnecting",
  completed: "Complete",
  cancelled: "Stopped",
  truncated: "Cut short",
  failed: "Failed",
};

/** Ends that need no more words. */
const PLAIN = {
  stop: "Complete",
  length: "Stopped at the token limit",
  tool_calls: "Complete: the model asks for a tool",
  content_filter: "Ended by the content filter",
  client_stop: "Stopped by you",
  client_gone: "Nobody was listening, so the engine was stopped",
  operator: "Stopped by the operator",
} as const;

/** Ends that lose something; what was kept is said behind them. */
const CUT = {
  slow_client: "Stopped, because this client took nothing for too long",
  budget: "Stopped, because the budget is used up",
  upstream_rejected: "The engine refused",
  upstream_unreachable: "The engine could not be reached",
  first_token_timeout: "The engine sent no first token in time",
  upstream_closed: "The engine broke off",
  upstream_stalled: "The engine fell silent",
  upstream_protocol: "The engine sent what cannot be read",
  event_too_large: "The engine sent too much at once",
  deadline: "The answer took too long and was ended",
  filter_error: "A filter failed",
  node_lost: "The relay went down in mid-answer",
  shutdown: "The relay was shut down in mid-answer",
} as const;

/** Ends that the client tells, since nobody told it. */
const UNTOLD = {
  connection_lost: "Connection lost",
  lost_error: "The relay could not be reached",
  detached: "No longer followed",
  protocol_error: "The relay sent what cannot be read",
  stream_not_found: "The relay no longer has this stream",
  stream_gone: "The relay no longer has all of this stream",
} as const;

/** What the relay refuses for the caller's own sake; its message says more. */
const REFUSED = {
  invalid_api_key: "The relay asks for an API key",
  admin_required: "Only an admin's key may do this",
  rate_limit_exceeded: "The rate limit is reached",
  insufficient_quota: "The budget is used up",
} as const;

/** Answers that were not generated for their request: what they are, and why they cost nothing. */
const SHARED: Readonly<Record<string, readonly [words: string, why: string]>> = {
  joined: ["Shared with another request", "the request that began it pays"],
  repeated: ["Repeated from an earlier request", "it was paid for the first time"],
  cache: ["From the cache", "nothing was generated for it"],
};

/** Every cause this table has words for. */
export const CAUSES: readonly string[] = [PLAIN, CUT, UNTOLD, REFUSED].flatMap((table) => Object.keys(table));

/** Return how it stands or how it ended, in plain words: `"The engine fell silent for 30 s: 212 tokens kept"`. */
export function say(standing: Standing): string {
  const open = lookUp(OPEN, standing.state);
  if (open !== null) return open;
  if (standing.state === "failed") return `No answer: ${reasonOf(standing)}${waitOf(standing)}`;
  const plain = lookUp(PLAIN, standing.cause);
  if (plain !== null) return plain;
  if (standing.state === "completed") return "Complete";
  return `${cutOf(standing)}: ${keptOf(standing.tokens)}`;
}

/** Return why something ended, apart from what became of it: `"The engine broke off"`; a cause without words as it is. */
export function reasonFor(cause: string): string {
  return lookUp(PLAIN, cause) ?? lookUp(CUT, cause) ?? lookUp(REFUSED, cause) ?? cause;
}

/**
 * Return that an answer was not generated for its request, and why it cost nothing: `["From the cache", "nothing …"]`; null
 * where it was.
 */
export function sharedWords(source: string | null): readonly [words: string, why: string | null] | null {
  if (source === null || source === "engine") return null;
  return Object.hasOwn(SHARED, source)
    ? (SHARED[source] ?? null)
    : [`Not generated for this request (${source})`, null];
}

/** Return what answered: `"claude"`; `"claude, as claude-sonnet-4-5"` where it knows the model by another name. */
export function engineWords(engine: string, engineModel: string | null, model: string | null): string {
  return engineModel === null || engineModel === model ? engine : `${engine}, as ${engineModel}`;
}

/** Whether the relay has a stream behind this: what it refused, forgot or never heard of has none. */
export function hasStream({ state, cause }: Standing): boolean {
  return cause !== "stream_not_found" && (state !== "failed" || lookUp(CUT, cause) !== null);
}

/** Return one word for a state: `"Cut short"`. */
export function labelOf(state: string): string {
  return LABELS[state] ?? state;
}

/** Return a count of tokens in words: `"1 token"`, `"1,204 tokens"`. */
export function countTokens(tokens: number): string {
  return tokens === 1 ? "1 token" : `${tokens.toLocaleString("en")} tokens`;
}

function cutOf({ state, cause, message }: Standing): string {
  const words = lookUp(CUT, cause) ?? lookUp(UNTOLD, cause) ?? lookUp(REFUSED, cause);
  if (words === null) return state === "cancelled" ? "Stopped" : "The answer was cut short";
  return cause === "upstream_stalled" ? `${words}${silenceOf(message)}` : words;
}

/** The relay says `no content for idle = 30 s`. */
function silenceOf(message: string | null | undefined): string {
  const seconds = /= ([\d.]+) s\b/.exec(message ?? "")?.[1];
  return seconds === undefined ? "" : ` for ${seconds} s`;
}

function keptOf(tokens: number | null | undefined): string {
  return tokens === null || tokens === undefined ? "what came is kept" : `${countTokens(tokens)} kept`;
}

function reasonOf({ cause, message }: Standing): string {
  const refused = lookUp(REFUSED, cause);
  if (refused !== null)
    return lowered(refused) + (message ? `. ${message.charAt(0).toUpperCase()}${message.slice(1)}` : "");
  // Before anything came there was no connection to lose.
  const untold = cause === "connection_lost" ? UNTOLD.lost_error : lookUp(UNTOLD, cause);
  if (untold === null && message) return message;
  return lowered(untold ?? lookUp(CUT, cause) ?? "The relay does not say why");
}

/** Return words as they stand inside a sentence. */
export function lowered(words: string): string {
  return words.charAt(0).toLowerCase() + words.slice(1);
}

/** A budget comes back after hours, which nobody counts in seconds. */
const WAIT_UNITS: readonly (readonly [seconds: number, unit: string])[] = [
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
];

function waitOf({ retryAfterMs }: Standing): string {
  if (!retryAfterMs) return "";
  const seconds = Math.ceil(retryAfterMs / 1000);
  const [size, unit] = WAIT_UNITS.find(([least]) => seconds > 2 * least) ?? [1, "s"];
  return ` (try again in ${Math.ceil(seconds / size)} ${unit})`;
}

function lookUp(table: Readonly<Record<string, string>>, key: string | null | undefined): string | null {
  return key && Object.hasOwn(table, key) ? (table[key] ?? null) : null;
}
