import { describe, expect, test } from "vitest";
import protocol from "../../../docs/wire-protocol.md?raw";
import errors from "../../../src/headrace/errors.py?raw";
import states from "../../../src/headrace/stream/state.py?raw";
import outcome from "../../../src/headrace/types/outcome.py?raw";
import { CAUSES, countTokens, hasStream, labelOf, say } from "../src/words.ts";

/** The values of `class Cause` in the relay's source. */
function relayCauses(): string[] {
  const body = /class Cause\(enum\.StrEnum\):(.*?)\n\n\n/s.exec(outcome)?.[1] ?? "";
  return [...body.matchAll(/^ {4}[A-Z_]+ = "([a-z_]+)"/gm)].map((match) => match[1] ?? "");
}

describe("the table", () => {
  test("has words for every cause the relay knows", () => {
    expect(relayCauses().length).toBeGreaterThan(15);
    expect(CAUSES).toEqual(expect.arrayContaining(relayCauses()));
  });

  test("has words for every cause in the protocol's table of faults", () => {
    const named = [...protocol.matchAll(/\| `(?:failed|truncated|completed)`, `([a-z_]+)` \|/g)].map(
      (match) => match[1],
    );
    expect(named.length).toBeGreaterThan(30);
    expect(CAUSES).toEqual(expect.arrayContaining(named));
  });

  test("knows no cause that nobody sends", () => {
    const own = ["connection_lost", "lost_error", "detached", "protocol_error", "stream_not_found", "stream_gone"];
    const refusals = [...errors.matchAll(/^ {4}code = "([a-z_]+)"/gm)].map((match) => match[1]);
    const refused = ["invalid_api_key", "admin_required", "rate_limit_exceeded", "insufficient_quota"];
    expect(refusals).toEqual(expect.arrayContaining(refused));
    expect([...CAUSES].sort()).toEqual([...relayCauses(), ...own, ...refused].sort());
  });

  test("tells all causes of one state apart", () => {
    const truncating = states.match(/_BREAKS = frozenset\(\s*\{(.*?)\}/s)?.[1]?.match(/Cause\.([A-Z_]+)/g) ?? [];
    expect(truncating.length).toBeGreaterThan(4);
    const words = truncating.map((name) => say({ state: "truncated", cause: name.slice(6).toLowerCase(), tokens: 3 }));
    expect(new Set(words).size).toBe(words.length);
  });
});

describe("what is said", () => {
  const cases: [Parameters<typeof say>[0], string][] = [
    [{ state: "waiting" }, "Waiting for the first token…"],
    [{ state: "streaming" }, "Answering…"],
    [{ state: "in_progress" }, "Answering…"],
    [{ state: "reconnecting" }, "Connection lost, resuming…"],
    [{ state: "completed", cause: "stop" }, "Complete"],
    [{ state: "completed", cause: "length" }, "Stopped at the token limit"],
    [{ state: "cancelled", cause: "client_stop", tokens: 3 }, "Stopped by you"],
    [{ state: "cancelled", cause: "client_gone" }, "Nobody was listening, so the engine was stopped"],
    [
      { state: "truncated", cause: "upstream_stalled", message: "no content for idle = 30 s", tokens: 212 },
      "The engine fell silent for 30 s: 212 tokens kept",
    ],
    [{ state: "truncated", cause: "upstream_stalled", tokens: 1 }, "The engine fell silent: 1 token kept"],
    [{ state: "truncated", cause: "node_lost", tokens: 212 }, "The relay went down in mid-answer: 212 tokens kept"],
    [{ state: "truncated", cause: "connection_lost", tokens: 212 }, "Connection lost: 212 tokens kept"],
    [{ state: "truncated", cause: "connection_lost" }, "Connection lost: what came is kept"],
    [{ state: "failed", cause: "upstream_rejected", message: "HTTP 400" }, "No answer: HTTP 400"],
    [{ state: "failed", cause: "connection_lost", message: "x" }, "No answer: the relay could not be reached"],
    [{ state: "failed", cause: "lost_error", message: "ECONN" }, "No answer: the relay could not be reached"],
    [{ state: "failed", cause: "upstream_unreachable" }, "No answer: the engine could not be reached"],
    [{ state: "failed", cause: "x", message: "busy", retryAfterMs: 1500 }, "No answer: busy (try again in 2 s)"],
    [{ state: "failed", cause: "insufficient_quota" }, "No answer: the budget is used up"],
    [
      { state: "failed", cause: "insufficient_quota", message: "$5 a day are spent.", retryAfterMs: 40_000_000 },
      "No answer: the budget is used up. $5 a day are spent. (try again in 12 h)",
    ],
    [
      { state: "failed", cause: "rate_limit_exceeded", message: "3 requests a minute", retryAfterMs: 200_000 },
      "No answer: the rate limit is reached. 3 requests a minute (try again in 4 min)",
    ],
    [{ state: "failed", cause: "admin_required" }, "No answer: only an admin's key may do this"],
    [{ state: "failed", cause: "invalid_api_key" }, "No answer: the relay asks for an API key"],
    [{ state: "truncated", cause: "invalid_api_key", tokens: 3 }, "The relay asks for an API key: 3 tokens kept"],
    [{ state: "cancelled", cause: "budget", tokens: 40 }, "Stopped, because the budget is used up: 40 tokens kept"],
    [{ state: "failed", cause: "toString" }, "No answer: the relay does not say why"],
    [{ state: "truncated", cause: "news", tokens: 0 }, "The answer was cut short: 0 tokens kept"],
  ];
  test.each(cases)("%o", (standing, words) => {
    expect(say(standing)).toBe(words);
  });

  test("a stream is behind all that the relay took on", () => {
    expect(hasStream({ state: "failed", cause: "upstream_rejected" })).toBe(true);
    expect(hasStream({ state: "truncated", cause: "connection_lost" })).toBe(true);
    expect(hasStream({ state: "failed", cause: "lost_error" })).toBe(false);
    expect(hasStream({ state: "failed", cause: "insufficient_quota" })).toBe(false);
    expect(hasStream({ state: "failed", cause: "invalid_request" })).toBe(false);
    expect(hasStream({ state: "truncated", cause: "stream_not_found" })).toBe(false);
  });

  test("an unknown state is its own label", () => {
    expect(labelOf("truncated")).toBe("Cut short");
    expect(labelOf("new")).toBe("new");
  });

  test("tokens are counted in words", () => {
    expect([0, 1, 1204].map(countTokens)).toEqual(["0 tokens", "1 token", "1,204 tokens"]);
  });
});
