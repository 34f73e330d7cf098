import { describe, expect, test } from "vitest";
import { exchangesOf, fileNameOf, toJSON, toMarkdown } from "../src/store/export.ts";
import { answer, COMPLETE, question, STOPPED } from "./fakes.ts";

const MESSAGES = [
  answer("b", {
    createdAt: 3000,
    text: "Because.\n\n- one\n",
    status: COMPLETE,
    facts: { tokens: 4, ttftMs: 100, tokensPerSecond: 9, cost: null },
  }),
  question("q2", { position: 1, text: "And\nthen?" }),
  answer("a", { createdAt: 2000, text: "Be", status: STOPPED, reasoning: "hm" }),
  question("q", { text: "Why?" }),
  answer("stray", { questionId: "gone" }),
];

describe("exchanges", () => {
  test("come in order, each with its answers, oldest first", () => {
    const found = exchangesOf(MESSAGES).map(({ question, answers }) => [question.id, answers.map(({ id }) => id)]);
    expect(found).toEqual([
      ["q", ["a", "b"]],
      ["q2", []],
    ]);
  });

  test("questions of two tabs in one place are ordered by time", () => {
    const two = [question("late", { createdAt: 2 }), question("early", { createdAt: 1 })];
    expect(exchangesOf(two).map(({ question }) => question.id)).toEqual(["early", "late"]);
  });
});

describe("an export", () => {
  test("as Markdown has each question and its last answer, and how it ended", () => {
    expect(toMarkdown("Sky", exchangesOf(MESSAGES))).toBe(
      "# Sky\n\n> Why?\n\nBecause.\n\n- one\n\n*m: Complete*\n\n> And\n> then?\n",
    );
  });

  test("as JSON has every version, word for word", () => {
    const { turns, title } = JSON.parse(toJSON("Sky", exchangesOf(MESSAGES)));
    expect(title).toBe("Sky");
    expect(turns[0].answers.map(({ text }: { text: string }) => text)).toEqual(["Be", "Because.\n\n- one\n"]);
    expect(turns[0].answers[0]).toMatchObject({ reasoning: "hm", words: "m: Stopped by you", stream_id: "s_a" });
    expect(turns[0].answers[1]).toMatchObject({ tokens: 4, end: COMPLETE, created_at: "1970-01-01T00:00:03.000Z" });
  });

  test.each([
    ["Why is the sky blue?", "why-is-the-sky-blue"],
    ["Warum ist der Himmel blau – über uns?", "warum-ist-der-himmel-blau-über-uns"],
    ["../../etc/passwd", "etc-passwd"],
    ["???", "conversation"],
  ])("of %j is a file named %j", (title, name) => {
    expect(fileNameOf(title)).toBe(name);
  });
});
