import { describe, expect, test } from "vitest";
import { bearsContent } from "../src/chunk.ts";
import { ToolCalls } from "../src/tool-calls.ts";
import { Transcript } from "../src/transcript.ts";

function textsOf(...contents: unknown[]): string[] {
  const transcript = new Transcript();
  return contents.map((content) => transcript.add([{ offset: 0, chunk: { choices: [{ delta: { content } }] } }]).text);
}

describe("text", () => {
  test("never ends in half a character", () => {
    expect(textsOf("a\ud83d", "\ude00b")).toEqual(["a", "😀b"]);
  });

  test("has U+FFFD for a half that has no other half", () => {
    expect(textsOf("\ude00a", "b\ud83d", "c")).toEqual(["\ufffda", "b", "\ufffdc"]);
  });

  test("may come in parts", () => {
    expect(textsOf([{ type: "text", text: "a" }, { type: "image" }, { type: "text", text: "b" }])).toEqual(["ab"]);
  });

  test("is that of choice 0, also of the older contract", () => {
    const transcript = new Transcript();
    const choices = [
      { index: 1, text: "other" },
      { index: 0, text: "mine" },
    ];
    expect(transcript.add([{ offset: 0, chunk: { choices } }]).text).toBe("mine");
  });

  test("of a chunk of another shape is none, and does no harm", () => {
    const transcript = new Transcript();
    for (const chunk of [
      {},
      { choices: null },
      { choices: [null, 1, "x"] },
      { choices: { delta: 5 } },
      { choices: [{ delta: null }] },
    ]) {
      expect(() => transcript.add([{ offset: 0, chunk }])).not.toThrow();
    }
  });
});

test("reasoning goes by two names", () => {
  const transcript = new Transcript();
  const deltas = [{ reasoning_content: "a" }, { reasoning: "b" }, { content: "c" }];
  const entries = deltas.map((delta, offset) => ({ offset, chunk: { choices: [{ index: 0, delta }] } }));
  expect(transcript.add(entries)).toMatchObject({ text: "c", reasoning: "ab" });
});

test("usage and the finish reason are noted", () => {
  const transcript = new Transcript();
  transcript.add([{ offset: 0, chunk: { choices: [{ index: 0, delta: {}, finish_reason: "length" }] } }]);
  transcript.add([{ offset: 1, chunk: { choices: [], usage: { completion_tokens: 3 } } }]);
  expect([transcript.finishReason, transcript.usage]).toEqual(["length", { completion_tokens: 3 }]);
});

test("the role alone, and empty fields, are no content", () => {
  const isContent = (delta: object): boolean => bearsContent({ choices: [{ index: 0, delta }] });
  expect([{ role: "assistant" }, { content: "" }, { tool_calls: [] }, { content: null }].map(isContent)).toEqual([
    false,
    false,
    false,
    false,
  ]);
  expect([{ content: " " }, { reasoning: "x" }, { tool_calls: [{}] }, { refusal: "no" }].map(isContent)).toEqual([
    true,
    true,
    true,
    true,
  ]);
});

describe("tool calls", () => {
  function callsOf(...fragments: unknown[]): (readonly [string, string, string])[] {
    const calls = new ToolCalls();
    for (const fragment of fragments) calls.add(fragment);
    return calls.calls().map((call) => [call.id, call.function.name, call.function.arguments] as const);
  }

  const part = (
    index: number | undefined,
    id: string | undefined,
    name: string | undefined,
    args: unknown,
  ): unknown => ({
    ...(index === undefined ? {} : { index }),
    ...(id === undefined ? {} : { id, type: "function" }),
    function: { ...(name === undefined ? {} : { name }), arguments: args },
  });

  test("are put together by index, also when they interleave", () => {
    const fragments = [
      part(0, "a", "f", ""),
      part(1, "b", "g", ""),
      part(0, undefined, undefined, '{"x"'),
      part(1, undefined, undefined, "{}"),
      part(0, undefined, undefined, ":1}"),
    ];
    expect(callsOf(fragments)).toEqual([
      ["a", "f", '{"x":1}'],
      ["b", "g", "{}"],
    ]);
  });

  test("numbered 0 all of them are told apart by id and name", () => {
    expect(callsOf(part(0, "a", "f", "1"), part(0, "b", "g", "2"))).toEqual([
      ["a", "f", "1"],
      ["b", "g", "2"],
    ]);
  });

  test("with an id made up for each fragment keep the first", () => {
    expect(callsOf(part(0, "a", "f", "1"), part(0, "b", undefined, "2"))).toEqual([["a", "f", "12"]]);
  });

  test("without an index go by id, else on with the last", () => {
    const fragments = [
      part(undefined, "a", "f", "1"),
      part(undefined, undefined, undefined, "2"),
      part(undefined, "b", "g", "3"),
      part(undefined, "a", undefined, "4"),
    ];
    expect(callsOf(fragments)).toEqual([
      ["a", "f", "124"],
      ["b", "g", "3"],
    ]);
  });

  test("without any id are named, and arguments that are an object become JSON", () => {
    expect(callsOf(part(0, undefined, "f", { x: 1 }))).toEqual([["call_0", "f", '{"x":1}']]);
  });

  test("whose name is repeated have it once", () => {
    expect(callsOf(part(0, "a", "f", "1"), part(0, "a", "f", "2"))).toEqual([["a", "f", "12"]]);
  });

  test("of other shapes do no harm", () => {
    expect(callsOf(null, 1, [null, "x"], { function: 5 })).toEqual([["call_0", "", ""]]);
  });
});
