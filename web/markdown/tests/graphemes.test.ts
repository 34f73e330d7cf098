// @vitest-environment jsdom
import { expect, test } from "vitest";
import { safePrefix } from "../src/index.ts";
import { oneShot, randomPieces, seeded, stream } from "./harness.ts";

const CORPUS = [
  "family \u{1f468}\u200d\u{1f469}\u200d\u{1f467}\u200d\u{1f466} and skin \u{1f44d}\u{1f3fd} here",
  "flags \u{1f1e9}\u{1f1ea}\u{1f1eb}\u{1f1f7}\u{1f1ef}\u{1f1f5} in a row",
  "flag of Wales \u{1f3f4}\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f} end",
  "keycaps 1\ufe0f\u20e3 #\ufe0f\u20e3 and heart \u2764\ufe0f\u200d\u{1f525}",
  "e\u0301 a\u0308\u0323 o\u0302\u0301 and z\u0351\u034a\u0357",
  "Hindi \u0915\u094d\u0937\u093f \u0928\u092e\u0938\u094d\u0924\u0947 Tamil \u0ba8\u0bbf Thai \u0e01\u0e33",
  "Hangul \u1112\u1161\u11ab\u1100\u1173\u11af end",
  "**bold \u{1f469}\u{1f3ff}\u200d\u{1f692}** `code \u{1f469}\u200d\u{1f4bb}` [link \u{1f3f3}\ufe0f\u200d\u{1f308}](https://x.invalid/)",
  "```\ncode \u{1f468}\u200d\u{1f469}\u200d\u{1f467} e\u0301\n```\n",
  "| \u{1f1e9}\u{1f1ea} | e\u0301 |\n|---|---|\n| \u{1f468}\u200d\u{1f33e} | \u0915\u094d\u0937 |\n",
  "lone \ud83d and \udc4d surrogates \ud83d\ud83d",
  "line\r\nends e\r\u0301 x",
];

const clusters = (text: string) => Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment);

/** Whether every cluster of `text` is one of the final text: none is a part of one. */
function broken(text: string, whole: ReadonlySet<string>): string[] {
  return clusters(text).filter((cluster) => !whole.has(cluster) && cluster.trim() !== "");
}

const LONE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

test.each(CORPUS)("%j: no cluster is ever shown in part", (text) => {
  const whole = new Set(clusters(oneShot(text).textContent ?? ""));
  const random = seeded(text.length);
  for (const pieces of [text.split(""), randomPieces(text, 3, random), randomPieces(text, 7, random)]) {
    stream(pieces, (root) => {
      const shown = root.textContent ?? "";
      expect(broken(shown, whole)).toEqual([]);
      expect(shown).not.toMatch(LONE);
    });
  }
});

test("what is safe of a text ends before its last cluster, unless that is closed", () => {
  expect(safePrefix("")).toBe("");
  expect(safePrefix("abc")).toBe("ab");
  expect(safePrefix("abc\n")).toBe("abc\n");
  expect(safePrefix("a\r")).toBe("a");
  expect(safePrefix("a\u{1f468}\u200d")).toBe("a");
  expect(safePrefix("\u{1f1e9}\u{1f1ea}\u{1f1eb}")).toBe("\u{1f1e9}\u{1f1ea}");
  expect(safePrefix("ab\ud83d")).toBe("a");
});

test("a cluster that grows without end is let go", () => {
  const marks = "\u0301".repeat(5000);
  const root = stream(randomPieces(`e${marks}`, 50, seeded(1)));
  expect(root.textContent).toBe(`e${marks}`);
});
