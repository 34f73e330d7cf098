import { expect, test } from "vitest";
import { type Loaded, refreshed, updated, withOlder } from "../../src/streams/pages.ts";
import type { Stream } from "../../src/streams/stream.ts";
import { streamOf } from "./kit.ts";

/** Streams named by their age: the higher the number, the newer. */
function streams(...numbers: number[]): Stream[] {
  return numbers.map((number) => streamOf(`s${number}`, { created_at: number }));
}

function ids(loaded: Loaded): string {
  return loaded.streams.map(({ id }) => id.slice(1)).join(" ");
}

const loaded: Loaded = { streams: streams(9, 8, 7, 6, 5, 4), hasMore: true };

test("new streams come first, what is older than the page stays", () => {
  expect(ids(refreshed(loaded, { streams: streams(11, 10, 9, 8), hasMore: true }))).toBe("11 10 9 8 7 6 5 4");
});

test("what lies in the page's range and is not in it is gone", () => {
  expect(ids(refreshed(loaded, { streams: streams(9, 7, 6), hasMore: true }))).toBe("9 7 6 5 4");
});

test("a page takes the place of what was known of its streams", () => {
  const page = { streams: [streamOf("s9", { created_at: 9, state: "completed" })], hasMore: true };
  expect(refreshed(loaded, page).streams[0]?.state).toBe("completed");
});

test("a page that is all there is leaves nothing else", () => {
  const all = refreshed(loaded, { streams: streams(9, 4), hasMore: false });
  expect(ids(all)).toBe("9 4");
  expect(all.hasMore).toBe(false);
});

test("a page that does not reach what was known takes its place, for a hole would be a lie", () => {
  const jumped = refreshed({ ...loaded, hasMore: false }, { streams: streams(40, 39), hasMore: true });
  expect(ids(jumped)).toBe("40 39");
  expect(jumped.hasMore).toBe(true);
});

test("an empty page empties the list", () => {
  expect(refreshed(loaded, { streams: [], hasMore: false }).streams).toEqual([]);
});

test("whether there is more is known by the oldest page, not by the newest", () => {
  const whole = { streams: streams(9, 8, 7), hasMore: false };
  expect(refreshed(whole, { streams: streams(9, 8), hasMore: true }).hasMore).toBe(false);
});

test("an older page is put behind, each stream once", () => {
  const more = withOlder(loaded, { streams: streams(5, 4, 3, 2), hasMore: false });
  expect(ids(more)).toBe("9 8 7 6 5 4 3 2");
  expect(more.hasMore).toBe(false);
});

test("the list is bounded, and says that there is more", () => {
  const more = withOlder(loaded, { streams: streams(3, 2), hasMore: false }, 7);
  expect(ids(more)).toBe("9 8 7 6 5 4 3");
  expect(more.hasMore).toBe(true);
});

test("streams asked for alone are put in their places, or taken out", () => {
  const news = new Map<string, Stream | null>([
    ["s7", streamOf("s7", { state: "failed" })],
    ["s5", null],
    ["unheard-of", streamOf("unheard-of")],
  ]);
  const now = updated(loaded, news);
  expect(ids(now)).toBe("9 8 7 6 4");
  expect(now.streams[2]?.state).toBe("failed");
});
