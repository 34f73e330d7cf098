/**
 * What each failure means in each phase of following a stream: one table, `NEXT`. Two rules:
 *
 * 1. A request that may have reached the relay is asked about before it is sent again. Its stream id makes sending it again
 *    harmless all the same: the relay answers 409 when it has it.
 * 2. Only what can pass is tried again.
 */

/**
 * How much is known of the stream:
 *
 * - `asking`: the request goes out for the first time
 * - `unsure`: whether the request arrived is being asked
 * - `asking_again`: the request goes out again, though it may arrive twice
 * - `attaching`: a stream that somebody else started is asked for
 * - `following`: the relay has the stream
 * - `plain`: the server is no Headrace: nothing can be resumed
 */
export type Phase = "asking" | "unsure" | "asking_again" | "attaching" | "following" | "plain";

/**
 * What can go wrong with a request or its answer:
 *
 * - `broken`: there is no connection, or it broke, or fell silent (browsers do not tell these apart)
 * - `stranger`: somebody between answered, mostly a proxy whose relay is away
 * - `odd`: an answer, but no stream
 * - `no_route`: a 404 that no relay wrote: a proxy without a route, or another kind of server
 * - `busy`: the relay takes nothing now; nothing was begun
 * - `fault`: the relay failed, or limits the rate
 * - `not_found`: the relay has no such thing
 * - `taken`: the relay has a stream with this id
 * - `refused`: the relay refuses, and always will
 */
export type Failure = "broken" | "stranger" | "odd" | "no_route" | "busy" | "fault" | "not_found" | "taken" | "refused";

/** What to do about it, after a while: send the request, ask for the entries, or give up. */
export type Next = "start" | "resume" | "give_up";

const ASKING: Record<Failure, Next> = {
  broken: "resume",
  stranger: "resume",
  odd: "give_up",
  no_route: "give_up",
  busy: "start",
  fault: "give_up",
  not_found: "give_up",
  taken: "give_up",
  refused: "give_up",
};

export const NEXT: Record<Phase, Record<Failure, Next>> = {
  asking: ASKING,
  unsure: {
    broken: "resume",
    stranger: "resume",
    odd: "resume",
    no_route: "start",
    busy: "resume",
    fault: "resume",
    not_found: "start",
    taken: "give_up",
    refused: "give_up",
  },
  asking_again: { ...ASKING, taken: "resume" },
  attaching: {
    broken: "resume",
    stranger: "resume",
    odd: "give_up",
    no_route: "give_up",
    busy: "resume",
    fault: "resume",
    not_found: "give_up",
    taken: "give_up",
    refused: "give_up",
  },
  following: {
    broken: "resume",
    stranger: "resume",
    odd: "resume",
    no_route: "resume",
    busy: "resume",
    fault: "resume",
    not_found: "give_up",
    taken: "give_up",
    refused: "give_up",
  },
  plain: {
    broken: "give_up",
    stranger: "give_up",
    odd: "give_up",
    no_route: "give_up",
    busy: "give_up",
    fault: "give_up",
    not_found: "give_up",
    taken: "give_up",
    refused: "give_up",
  },
};

const BY_STRANGER = new Map<number, Failure>([
  [404, "no_route"],
  [408, "stranger"],
  [429, "stranger"],
]);

const BY_RELAY = new Map<number, Failure>([
  [404, "not_found"],
  [408, "busy"],
  [409, "taken"],
  [429, "fault"],
  [503, "busy"],
]);

const BY_CODE = new Map<string, Failure>([
  ["stream_not_found", "not_found"],
  ["stream_exists", "taken"],
  ["shutting_down", "busy"],
  ["overloaded", "fault"],
  ["store_error", "busy"],
]);

/**
 * Returns what an answer other than a stream means.
 *
 * @param status Its HTTP status.
 * @param told `error`: its body holds an error object, so a server of this API wrote it; `end`: the error is that of a stream
 *   that ended; `nothing`: neither.
 */
export function failureOfAnswer(status: number, told: "nothing" | "error" | "end"): Failure {
  if (told === "end") return "refused";
  if (status < 400) return "odd";
  if (told === "nothing") return BY_STRANGER.get(status) ?? (status >= 500 ? "stranger" : "refused");
  return BY_RELAY.get(status) ?? (status >= 500 ? "fault" : "refused");
}

/** Returns what an error message of the WebSocket protocol means, which has a code but no status. */
export function failureOfCode(code: string | null): Failure {
  return (code === null ? undefined : BY_CODE.get(code)) ?? "refused";
}
