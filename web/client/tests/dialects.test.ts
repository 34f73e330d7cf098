import { describe, expect, test } from "vitest";
import {
  ChatEvents,
  chatLines,
  type Dialect,
  EventEvents,
  eventLines,
  type Item,
  placeOf,
  TokenEvents,
} from "../src/dialects.ts";
import { randomSplit, seeded, textChunk } from "./fakes.ts";

const utf8 = new TextEncoder();
const CHUNK = JSON.stringify(textChunk("hé😀"));
const END = '{"state":"completed","cause":"length","finish_reason":"length","usage":{"completion_tokens":2}}';

const BODIES: Record<string, [() => Dialect, string]> = {
  "chat as NDJSON": [chatLines, `${CHUNK}\n\n${CHUNK}\r\n{"offset":2,"end":${END}}\n`],
  "events as NDJSON": [
    eventLines,
    `{"offset":4,"chunk":${CHUNK}}\n{"offset":5,"chunk":${CHUNK}}\n{"offset":6,"end":${END}}\n`,
  ],
  "chat as SSE": [() => new ChatEvents(), `data: ${CHUNK}\n\n: ping\n\ndata: ${CHUNK}\r\n\r\ndata: [DONE]\n\n`],
  "events as SSE": [
    () => new EventEvents(),
    `id: 4\ndata: ${CHUNK}\n\nid: 5\ndata: ${CHUNK}\n\nid: 6\nevent: end\ndata: ${END}\n\n`,
  ],
  "tokens as SSE": [
    () => new TokenEvents(),
    'id: s:-1\nretry: 1000\n\nid: s:1\ndata: {"token":"hé😀"}\n\nid: s:3\ndata: {"token":"x"}\n\nid: s:4\ndata: [DONE]\n\n',
  ],
};

function decode(make: () => Dialect, pieces: readonly Uint8Array[]): Item[] {
  const dialect = make();
  return [...pieces.flatMap((piece) => dialect.receive(piece)), ...dialect.receiveEnd()];
}

function decodeText(make: () => Dialect, text: string): Item[] {
  return decode(make, [utf8.encode(text)]);
}

describe.each(Object.entries(BODIES))("%s", (_, [make, text]) => {
  test("is two entries and an end", () => {
    expect(decodeText(make, text).map(({ kind }) => kind)).toEqual(["entry", "entry", "end"]);
  });

  test.each(Array.from({ length: 30 }, (_, seed) => seed))("is the same at any split (seed %i)", (seed) => {
    const bytes = utf8.encode(text);
    expect(decode(make, randomSplit(bytes, seeded(seed)))).toEqual(decode(make, [bytes]));
  });

  test("that was cut has no end", () => {
    for (let length = 0; length < text.length - 2; length += 7) {
      expect(decodeText(make, text.slice(0, length)).filter(({ kind }) => kind === "end")).toEqual([]);
    }
  });
});

test("offsets are counted where the dialect does not tell them", () => {
  const offsets = (make: () => Dialect, text: string): unknown[] =>
    decodeText(make, text).map((item) => ("offset" in item ? item.offset : "none"));
  const told = Object.values(BODIES).map(([make, text]) => offsets(make, text));
  expect(told).toEqual([
    [0, 1, 2],
    [4, 5, 6],
    [0, 1, null],
    [4, 5, 6],
    [1, 3, 4],
  ]);
});

describe("what cannot be read", () => {
  test.each([
    ["HTML", chatLines, "<html>\n"],
    ["an offset that is none", eventLines, `{"offset":"1","chunk":${CHUNK}}\n`],
    ["an entry without a chunk", eventLines, '{"offset":1}\n'],
    ["an end that says nothing", chatLines, '{"offset":1,"end":{}}\n'],
    ["a state that is none", chatLines, '{"offset":1,"end":{"state":"in_progress","cause":"x"}}\n'],
    ["an event without an id", () => new EventEvents(), `data: ${CHUNK}\n\n`],
    ["a token that is none", () => new TokenEvents(), 'id: s:1\ndata: {"token":5}\n\n'],
    ["an error event that is none", () => new TokenEvents(), "event: error\ndata: x\n\n"],
  ])("%s breaks the protocol", (_, make, text) => {
    expect(decodeText(make, text)).toMatchObject([{ kind: "unreadable", fault: { kind: "protocol" }, ending: null }]);
  });

  test("an error of the server's keeps its words, and its end where it tells one", () => {
    const error = { message: "cut", code: "upstream_closed", state: "truncated", cause: "upstream_closed" };
    expect(decodeText(() => new ChatEvents(), `data: ${JSON.stringify({ error })}\n\n`)).toMatchObject([
      {
        kind: "unreadable",
        fault: { kind: "engine", message: "cut" },
        ending: { state: "truncated", cause: "upstream_closed" },
      },
    ]);
  });

  test("comes behind what could be read", () => {
    expect(decodeText(chatLines, `${CHUNK}\n<html>\n`).map(({ kind }) => kind)).toEqual(["entry", "unreadable"]);
  });

  test("a line over the limit is the last item", () => {
    const items = decodeText(() => chatLines(200), `${CHUNK}\n${"x".repeat(300)}`);
    expect(items.map(({ kind }) => kind)).toEqual(["entry", "unreadable"]);
  });
});

test("an answer is whole without [DONE] when every choice has a finish reason", () => {
  const chunkOf = (...reasons: (string | null)[]): string =>
    JSON.stringify({ choices: reasons.map((finish_reason, index) => ({ index, delta: {}, finish_reason })) });
  const endOf = (...chunks: string[]): unknown[] =>
    decodeText(() => new ChatEvents(), chunks.map((chunk) => `data: ${chunk}\n\n`).join("")).filter(
      ({ kind }) => kind === "end",
    );
  expect(endOf(chunkOf(null, null), chunkOf("stop"))).toEqual([]);
  expect(endOf(chunkOf(null, null), chunkOf("length", "stop"))).toMatchObject([
    { ending: { cause: "length", finishReason: "length" } },
  ]);
});

test("an event id names a stream and a place", () => {
  expect(["strm_1:-1", "a:12", "a", ":1", "a:x", "a:1:2"].map(placeOf)).toEqual([
    { streamId: "strm_1", offset: -1 },
    { streamId: "a", offset: 12 },
    null,
    null,
    null,
    null,
  ]);
});
