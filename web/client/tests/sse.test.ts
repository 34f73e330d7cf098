import { describe, expect, test } from "vitest";
import { TooLarge } from "../src/lines.ts";
import { SSEDecoder, type SSEEvent } from "../src/sse.ts";
import { randomSplit, seeded } from "./fakes.ts";

const utf8 = new TextEncoder();

function decode(
  pieces: readonly Uint8Array[],
  maxEventBytes = 1000,
): { events: SSEEvent[]; lastEventId: string; retryMs: number | null; error: unknown } {
  const decoder = new SSEDecoder({ maxEventBytes });
  const events: SSEEvent[] = [];
  let error: unknown = null;
  try {
    for (const piece of pieces) decoder.receive(piece, (event) => events.push(event));
  } catch (thrown) {
    error = thrown;
  }
  return { events, lastEventId: decoder.lastEventId, retryMs: decoder.retryMs, error };
}

function decodeText(text: string): SSEEvent[] {
  return decode([utf8.encode(text)]).events;
}

function dataOf(text: string): string[] {
  return decodeText(text).map(({ data }) => data);
}

describe("the format (WHATWG HTML 9.2.6)", () => {
  test("a blank line dispatches, and the end of the stream does not", () => {
    expect(dataOf("data: a\n\ndata: b\n")).toEqual(["a"]);
  });

  test.each(["\n", "\r", "\r\n"])("lines may end in %j", (end) => {
    expect(dataOf(`data: a${end}data: b${end}${end}data: c${end}${end}`)).toEqual(["a\nb", "c"]);
  });

  test("an event is dispatched as soon as a CR ends its blank line", () => {
    expect(dataOf("data: a\r\r")).toEqual(["a"]);
  });

  test("an LF that follows a CR in a later read ends no line of its own", () => {
    expect(decode([utf8.encode("data: a\r"), utf8.encode("\ndata: b\n\n")]).events.map(({ data }) => data)).toEqual([
      "a\nb",
    ]);
  });

  test("one BOM at the beginning is dropped, a second one is part of the first field's name", () => {
    expect(dataOf("\ufeffdata: a\n\n")).toEqual(["a"]);
    expect(dataOf("\ufeff\ufeffdata: a\n\n")).toEqual([]);
  });

  test("one space behind the colon belongs to the format, further ones to the value", () => {
    expect(dataOf("data:a\n\ndata: a\n\ndata:  a\n\n")).toEqual(["a", "a", " a"]);
  });

  test("a field without a colon has an empty value, and an event with empty data is one", () => {
    expect(dataOf("data\n\ndata\ndata\n\n")).toEqual(["", "\n"]);
  });

  test("comments and unknown fields are ignored", () => {
    expect(dataOf(": ping\n\nfoo: 1\ndata: a\n\n")).toEqual(["a"]);
  });

  test("an event names its type for itself alone", () => {
    expect(decodeText("event: x\ndata: a\n\ndata: b\n\n").map(({ event }) => event)).toEqual(["x", "message"]);
  });

  test("an id stays in force, also one that came without data; one with NUL is ignored", () => {
    expect(decodeText("id: 1\n\ndata: a\n\nid: 2\0\ndata: b\n\nid\ndata: c\n\n").map(({ id }) => id)).toEqual([
      "1",
      "1",
      "",
    ]);
  });

  test("retry takes digits only, and no more than a clock can hold", () => {
    const retryOf = (value: string): number | null => decode([utf8.encode(`retry: ${value}\n\n`)]).retryMs;
    expect(["1500", "1.5", "-1", "9".repeat(15), "9".repeat(16)].map(retryOf)).toEqual([
      1500,
      null,
      null,
      999_999_999_999_999,
      null,
    ]);
  });

  test("invalid bytes become U+FFFD", () => {
    const bytes = Uint8Array.from([...utf8.encode("data: a"), 0xff, ...utf8.encode("b\n\n")]);
    expect(decode([bytes]).events[0]?.data).toBe("a\ufffdb");
  });
});

describe("splits", () => {
  const parts = [
    "data: héllo 😀",
    "data",
    ": ping",
    "id: s:1",
    "event: end",
    "retry: 10",
    "",
    "",
    'data: {"a":1}',
    "\ufeff",
    "id: \0",
  ];
  const ends = ["\n", "\r", "\r\n"];

  test.each(Array.from({ length: 200 }, (_, seed) => seed))("any split gives the same events (seed %i)", (seed) => {
    const random = seeded(seed);
    const pick = <T>(from: readonly T[]): T | string => from[Math.floor(random() * from.length)] ?? "";
    const text = Array.from({ length: 40 }, () => `${pick(parts)}${pick(ends)}`).join("");
    const bytes = utf8.encode(random() < 0.3 ? `\ufeff${text}` : text);
    const whole = decode([bytes]);
    expect(decode(randomSplit(bytes, random))).toEqual(whole);
    expect(decode(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(whole);
  });

  test.each([0, 1, 2, 3, 4])("any split meets the limit at the same event (seed %i)", (seed) => {
    const random = seeded(seed);
    const bytes = utf8.encode(`data: ${"a".repeat(20)}\n\ndata: ${"b".repeat(60)}\n\n`);
    const { events, error } = decode(randomSplit(bytes, random), 50);
    expect(events.map(({ data }) => data)).toEqual(["a".repeat(20)]);
    expect(error).toBeInstanceOf(TooLarge);
  });
});

describe("bounds", () => {
  test("a line, and the sum of an event's data, may be as large as the limit and no larger", () => {
    const lines = (count: number): Uint8Array[] => [utf8.encode(`${"data: 1234\n".repeat(count)}\n`)];
    expect(decode(lines(10), 49).error).toBeNull();
    expect(decode(lines(11), 49).error).toBeInstanceOf(TooLarge);
    expect(decode([utf8.encode(`:${"x".repeat(49)}`)], 50).error).toBeNull();
    expect(decode([utf8.encode(`:${"x".repeat(50)}`)], 50).error).toBeInstanceOf(TooLarge);
  });

  test("a decoder that met its limit stays unusable", () => {
    const decoder = new SSEDecoder({ maxEventBytes: 4 });
    expect(() => decoder.receive(utf8.encode("data: long"), () => {})).toThrow(TooLarge);
    expect(() => decoder.receive(utf8.encode("\n\n"), () => {})).toThrow(TooLarge);
  });

  test("a line of a million bytes, byte by byte, takes linear time", () => {
    const decoder = new SSEDecoder({ maxEventBytes: 10_000_000 });
    const byte = utf8.encode("x");
    // A second or two; joining or searching all of it for each byte would run into the test's time limit.
    for (let count = 0; count < 1_000_000; count++) decoder.receive(byte, () => {});
    const events: SSEEvent[] = [];
    decoder.receive(utf8.encode("\ndata: a\n\n"), (event) => events.push(event));
    expect(events).toHaveLength(1);
  });
});
