import { expect, test } from "vitest";
import { billLines, figuresOf, originLines } from "../src/chat/figures.ts";
import { newId } from "../src/chat/ids.ts";
import { type AnswerBill, type AnswerOrigin, NO_FACTS } from "../src/store/types.ts";

test("only what is known is said", () => {
  expect(figuresOf(NO_FACTS)).toEqual([]);
  expect(figuresOf({ ttftMs: 1554, tokensPerSecond: 3.52, tokens: 1204, cost: 0.00124 })).toEqual([
    "TTFT 1.55 s",
    "3.5 tokens/s",
    "1,204 tokens",
    "$0.0012",
  ]);
});

test.each([
  [0, "$0"],
  [0.5, "$0.50"],
  [0.047, "$0.047"],
  [2.5, "$2.50"],
  [0.00000012, "$0.00000012"],
])("a cost of %d is %s", (cost, words) => {
  expect(figuresOf({ ...NO_FACTS, cost })).toEqual([words]);
});

const BILL: AnswerBill = {
  usd: 0.0035,
  isEstimated: false,
  rule: null,
  promptTokens: 40,
  cachedTokens: 0,
  completionTokens: 312,
  generatedTokens: 312,
  deliveredTokens: 312,
};

test("what the relay charges stands before what the engine says, and an estimate is about", () => {
  expect(figuresOf({ ...NO_FACTS, cost: 9, bill: BILL })).toEqual(["$0.0035"]);
  expect(figuresOf({ ...NO_FACTS, bill: { ...BILL, isEstimated: true } })).toEqual(["about $0.0035"]);
  expect(figuresOf({ ...NO_FACTS, bill: { ...BILL, usd: null } })).toEqual([]);
});

test("a bill says of what it is made", () => {
  expect(billLines(BILL)).toEqual([
    ["Cost", "$0.0035"],
    ["Billed", "40 tokens in, 312 out, as the engine counted"],
    ["Generated", "312 tokens"],
    ["Delivered", "312 tokens"],
  ]);
  const cut = { ...BILL, usd: null, isEstimated: true, rule: "delivered", cachedTokens: 30, generatedTokens: null };
  expect(billLines(cut)).toEqual([
    ["Cost", "no price known"],
    ["Charged for", "what was delivered of it"],
    ["Billed", "40 tokens in (30 cached), 312 out, estimated by the relay"],
    ["Delivered", "312 tokens"],
  ]);
});

test.each([
  [42.4, "TTFT 42 ms"],
  [12_345, "TTFT 12.3 s"],
])("%d ms to the first token are %s", (ttftMs, words) => {
  expect(figuresOf({ ...NO_FACTS, ttftMs })).toEqual([words]);
});

test("an id may stand in an address and name a stream", () => {
  const ids = new Set(Array.from({ length: 100 }, () => newId(crypto)));
  expect(ids.size).toBe(100);
  for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_-]{22}$/);
});

const ORIGIN: AnswerOrigin = { engine: "claude", engineModel: "sonnet", source: "engine", attempts: 1, seams: 0 };

test("an answer says who gave it, and over which ways", () => {
  expect(originLines(ORIGIN, "chat")).toEqual([["Answered by", "claude, as sonnet"]]);
  expect(originLines({ ...ORIGIN, attempts: 3 }, "sonnet")).toEqual([
    ["Answered by", "claude"],
    ["Attempts", "3"],
  ]);
  expect(originLines({ ...ORIGIN, engineModel: null, attempts: 2, seams: 1 }, null)).toEqual([
    ["Answered by", "claude"],
    ["Attempts", "2; it broke off once, and went on"],
  ]);
  expect(originLines({ ...ORIGIN, attempts: 4, seams: 2 }, "sonnet").at(-1)?.[1]).toContain("2 times");
});

test("what was not generated for its request says why it cost nothing, and has no bill to explain", () => {
  const nothing = { ...BILL, usd: 0, isEstimated: true, promptTokens: 0, completionTokens: 0, generatedTokens: 0 };
  expect(originLines({ ...ORIGIN, source: "cache" }, "sonnet").at(-1)).toEqual([
    "Origin",
    "From the cache: nothing was generated for it",
  ]);
  expect(originLines({ ...ORIGIN, source: "hedge" }, "sonnet").at(-1)?.[1]).toBe(
    "Not generated for this request (hedge)",
  );
  expect(figuresOf({ ...NO_FACTS, bill: nothing })).toEqual(["$0"]);
  expect(billLines(nothing).map(([name]) => name)).toEqual(["Cost", "Generated", "Delivered"]);
});
