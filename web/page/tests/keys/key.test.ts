import { describe, expect, test } from "vitest";
import { goodSecrets, isGood, MAX_KEYS, readKey, readKeys, readMadeKey, stateOf } from "../../src/keys/key.ts";
import { endOf, limitLines, spentLines, titleOf } from "../../src/keys/wording.ts";
import { keyOf, NOW } from "./kit.ts";

const OLD = { hint: "old", created_at: NOW - 900, expires_at: NOW + 60 };
const NEW = { hint: "new", created_at: NOW - 10, expires_at: null };

describe("a key", () => {
  test.each([
    ["active", {}],
    ["active", { expires_at: NOW + 1 }],
    ["rotating", { secrets: [OLD, NEW] }],
    ["active", { secrets: [{ ...OLD, expires_at: NOW }, NEW] }],
    ["expired", { expires_at: NOW }],
    ["expired", { secrets: [{ ...OLD, expires_at: NOW - 1 }] }],
    ["revoked", { revoked_at: NOW - 5, expires_at: NOW - 9, secrets: [OLD, NEW] }],
  ])("is %s with %j", (state, fields) => {
    const key = keyOf("k", fields);
    expect(stateOf(key, NOW)).toBe(state);
    expect(isGood(key, NOW)).toBe(state === "active" || state === "rotating");
  });

  test("that is rotated has its newest secret first", () => {
    expect(goodSecrets(keyOf("k", { secrets: [OLD, NEW] }), NOW).map(({ hint }) => hint)).toEqual(["new", "old"]);
  });

  test("is read with nothing taken on trust", () => {
    const odd = readKey({
      id: "k",
      role: "root",
      models: ["m", 7],
      limits: { tokens_per_minute: "5" },
      tags: { a: 1 },
    });
    expect(odd).toMatchObject({ role: "member", models: ["m"], limits: {}, tags: [], secrets: [], expiresAt: null });
    expect([readKey({ id: 3 }), readKey(null), readKeys({}), readMadeKey({ id: "k" })]).toEqual([
      null,
      null,
      null,
      null,
    ]);
  });

  test("is made with a secret that is told once", () => {
    expect(readMadeKey({ id: "k", owner: "a", key: "hr_1" })).toMatchObject({ key: { id: "k" }, secret: "hr_1" });
  });

  test("of a long list is among the newest", () => {
    const data = Array.from({ length: MAX_KEYS + 5 }, (_, index) => ({ id: `k${index}`, created_at: index }));
    const keys = readKeys({ data });
    expect([keys?.length, keys?.[0]?.id]).toEqual([MAX_KEYS, `k${MAX_KEYS + 4}`]);
  });
});

describe("what is said of a key", () => {
  test("are its limits, its money and its name", () => {
    const key = keyOf("key_1", {
      name: "laptop",
      limits: { requests_per_minute: 60, max_output_tokens: 4096 },
      budget: { day_usd: "10" },
      spent: { day_usd: "3.4", month_usd: "0.0000021" },
    });
    expect(limitLines(key)).toEqual(["60 requests a minute", "4,096 tokens an answer"]);
    expect(spentLines(key)).toEqual(["$3.40 of $10 today", "$0.0000021 this month"]);
    expect([titleOf(key), titleOf(keyOf("key_2"))]).toEqual(["laptop", "key_2"]);
  });

  test("is its end, or that of its old secret", () => {
    expect(endOf(keyOf("k"), "active", NOW)).toBeNull();
    expect(endOf(keyOf("k", { secrets: [OLD, NEW] }), "rotating", NOW)).toMatch(/^old good until /);
    expect(endOf(keyOf("k", { expires_at: NOW - 9e6 }), "expired", NOW)).toMatch(/^expired /);
    expect(endOf(keyOf("k", { revoked_at: NOW - 9e6 }), "revoked", NOW)).toMatch(/^revoked /);
  });
});
