import { describe, expect, test } from "vitest";
import { bodyOf, EMPTY_FORM, fieldOf } from "../../src/keys/form.ts";

const FORM = { ...EMPTY_FORM, owner: " search " };

describe("the form of a key", () => {
  test("with an owner only asks for no more than that", () => {
    expect(bodyOf(FORM)).toEqual({ body: { owner: "search", role: "member" } });
  });

  test("that is full asks for all of it, amounts as they were typed", () => {
    const full = {
      ...FORM,
      name: "laptop",
      role: "admin",
      models: "gpt-4o, o3\n\n claude ",
      requests_per_minute: "60",
      max_output_tokens: " 4096 ",
      day_usd: "0.100",
      month_usd: "20",
      tags: "team = search\n\nfeature=a=b",
      expires_in: "2592000",
    };
    expect(bodyOf(full)).toEqual({
      body: {
        owner: "search",
        name: "laptop",
        role: "admin",
        models: ["gpt-4o", "o3", "claude"],
        limits: { requests_per_minute: 60, max_output_tokens: 4096 },
        budget: { day_usd: "0.100", month_usd: "20" },
        tags: { team: "search", feature: "a=b" },
        expires_in: 2_592_000,
      },
    });
  });

  test.each([
    ["owner", " "],
    ["requests_per_minute", "0"],
    ["tokens_per_minute", "1e3"],
    ["concurrent_streams", "-1"],
    ["max_prompt_tokens", "9".repeat(20)],
    ["day_usd", "$5"],
    ["month_usd", "1,5"],
    ["tags", "team"],
    ["tags", "a=1\n=b"],
  ] as const)("says at %s what is wrong with %j", (name, text) => {
    const read = bodyOf({ ...FORM, [name]: text });
    expect("errors" in read ? Object.keys(read.errors) : []).toEqual([name]);
  });
});

test.each([
  ["owner", "owner"],
  ["limits.requests_per_minute", "requests_per_minute"],
  ["$.budget.day_usd", "day_usd"],
  ["tags.team", "tags"],
  ["models[0]", "models"],
  ["expires_in", "expires_in"],
  ["body", null],
  ["constructor", null],
  [null, null],
])("the relay's param %s is the field %s", (param, field) => {
  expect(fieldOf(param)).toBe(field);
});
