import { expect, test } from "vitest";
import { ageOf, durationOf, rateOf, ttftOf } from "../../src/streams/measures.ts";
import { streamOf } from "./kit.ts";

test("a running stream lasts until now, an ended one until its end", () => {
  expect(durationOf(streamOf("a"), 1007)).toBe(7);
  expect(durationOf(streamOf("a", { state: "completed", ended_at: 1003 }), 1007)).toBe(3);
});

test("how long an ended stream lasted is unknown without its end", () => {
  expect(durationOf(streamOf("a", { state: "completed" }), 1007)).toBeNull();
});

test("a clock behind the relay's gives no negative times", () => {
  expect(ageOf(streamOf("a"), 990)).toBe(0);
  expect(durationOf(streamOf("a"), 990)).toBe(0);
});

test("the time to the first token needs a first token", () => {
  expect(ttftOf(streamOf("a"))).toBeNull();
  expect(ttftOf(streamOf("a", { first_content_at: 1000.25 }))).toBe(0.25);
});

test("the rate counts the tokens behind the first, from the first", () => {
  const ended = { state: "completed", first_content_at: 1001, ended_at: 1011 };
  expect(rateOf(streamOf("a", { ...ended, usage: { completion_tokens: 101 } }), 2000)).toBe(10);
  expect(rateOf(streamOf("a", { ...ended, usage: { completion_tokens: 1 } }), 2000)).toBeNull();
  expect(rateOf(streamOf("a", { ...ended, ended_at: 1001.01, usage: { completion_tokens: 9 } }), 2000)).toBeNull();
  expect(rateOf(streamOf("a", ended), 2000)).toBeNull();
});
