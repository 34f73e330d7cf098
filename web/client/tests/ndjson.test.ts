import { describe, expect, test } from "vitest";
import { TooLarge } from "../src/lines.ts";
import { NDJSONDecoder } from "../src/ndjson.ts";
import { randomSplit, seeded } from "./fakes.ts";

const utf8 = new TextEncoder();

function decode(pieces: readonly Uint8Array[], maxEventBytes = 1000): string[] {
  const decoder = new NDJSONDecoder({ maxEventBytes });
  const lines: string[] = [];
  for (const piece of pieces) decoder.receive(piece, (line) => lines.push(line));
  return lines;
}

describe("lines", () => {
  test("end in LF or CR LF; a CR elsewhere is part of them", () => {
    expect(decode([utf8.encode('{"a":1}\r\n{"b\r":2}\n')])).toEqual(['{"a":1}', '{"b\r":2}']);
  });

  test("that are blank are left out", () => {
    expect(decode([utf8.encode("\n\r\n  \n1\n")])).toEqual(["1"]);
  });

  test("without their LF were cut", () => {
    expect(decode([utf8.encode("123\n12")])).toEqual(["123"]);
  });

  test("may be as large as the limit and no larger", () => {
    expect(decode([utf8.encode(`${"x".repeat(50)}\n`)], 50)).toHaveLength(1);
    expect(() => decode([utf8.encode(`${"x".repeat(51)}\n`)], 50)).toThrow(TooLarge);
  });

  test.each(Array.from({ length: 100 }, (_, seed) => seed))("are the same at any split (seed %i)", (seed) => {
    const random = seeded(seed);
    const text = Array.from(
      { length: 20 },
      () => `{"t":"${"aé😀\\n".repeat(Math.floor(random() * 4))}"}${random() < 0.3 ? "\r\n" : "\n"}`,
    );
    const bytes = utf8.encode(`${text.join("")}{"cut`);
    expect(decode(randomSplit(bytes, random))).toEqual(decode([bytes]));
    expect(decode(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(text.map((line) => line.trim()));
  });
});
