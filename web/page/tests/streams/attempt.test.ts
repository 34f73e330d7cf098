import { expect, test } from "vitest";
import { readAttempts, readSeams, waitBefore } from "../../src/streams/attempt.ts";
import { attemptWords, kindWords } from "../../src/streams/wording.ts";

const FAILED = {
  engine: "claude",
  model: "claude-sonnet-4-5",
  kind: "first",
  started_at: 1000,
  ended_at: 1001,
  cause: "upstream_rejected",
  status: 503,
  message: "overloaded",
  usd: "0",
};

test("what the relay leaves out of an attempt is zero, not yet, or nothing to say", () => {
  expect(readAttempts([FAILED, { engine: "b", kind: "retry", started_at: 1002, usd: null }])).toEqual([
    {
      engine: "claude",
      model: "claude-sonnet-4-5",
      kind: "first",
      startedAt: 1000,
      waitedS: 0,
      firstContentAt: null,
      endedAt: 1001,
      cause: "upstream_rejected",
      status: 503,
      message: "overloaded",
      promptTokens: 0,
      cachedTokens: 0,
      completionTokens: 0,
      usd: 0,
    },
    expect.objectContaining({ model: null, endedAt: null, cause: null, usd: null }),
  ]);
});

test("a cost is told in dollars", () => {
  expect(readAttempts([{ ...FAILED, usd: "0.00011" }])[0]?.usd).toBe(0.00011);
});

test.each([[null], ["many"], [{}], [[null, 7, {}, { started_at: "soon" }]]])(
  "%j are no attempts, and no seams",
  (value) => {
    expect(readAttempts(value)).toEqual([]);
    expect(readSeams(value)).toEqual([]);
  },
);

test("no more are read than a stream can have taken", () => {
  expect(readAttempts(Array.from({ length: 5000 }, () => FAILED))).toHaveLength(100);
});

test("a seam says where it is, and what goes on", () => {
  const seam = { offset: 8, at: 1003, kind: "continuation", cause: "upstream_closed", to_engine: "b", to_model: "" };
  expect(readSeams([seam, { offset: 9 }])).toEqual([
    { offset: 8, at: 1003, kind: "continuation", cause: "upstream_closed", toEngine: "b", toModel: null },
  ]);
});

test("a wait is the time from one attempt's end to the next one's start", () => {
  const [first, second] = readAttempts([FAILED, { ...FAILED, started_at: 1003, waited_s: 1.9 }]);
  if (first === undefined || second === undefined) throw new Error("no attempts");
  expect([waitBefore([first, second], 0), waitBefore([first, second], 1)]).toEqual([null, { from: 1001, to: 1003 }]);
  expect(waitBefore([{ ...first, endedAt: null }, second], 1)).toEqual({ from: 1001.1, to: 1003 });
  expect(waitBefore([{ ...first, endedAt: 1004 }, second], 1)).toEqual({ from: 1003, to: 1003 });
});

test("words that this page does not know are shown as they are", () => {
  expect([kindWords("failover"), kindWords("hedge"), kindWords(null)]).toEqual([
    "Another engine instead",
    "hedge",
    "unknown",
  ]);
  expect(kindWords("constructor")).toBe("constructor");
  const [attempt] = readAttempts([{ ...FAILED, cause: "upstream_bored" }]);
  if (attempt === undefined) throw new Error("no attempt");
  expect(attemptWords(attempt)).toBe("upstream_bored");
  expect(attemptWords({ ...attempt, endedAt: null })).toBe("Waiting for its first token");
  expect(attemptWords({ ...attempt, endedAt: null, firstContentAt: 1000.5 })).toBe("Answering");
});
