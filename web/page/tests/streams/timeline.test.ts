import { expect, test } from "vitest";
import { EMPTY_TIMELINE, extended, lastOffset, readTimelinePage } from "../../src/streams/timeline.ts";
import { flushesAt } from "./kit.ts";

const PAGE = { hasMore: false, entries: null, bytes: null };

test("a page is read, and what is no flush left out", () => {
  const flush = { offset: 0, entries: 2, bytes: 300, at: 1000.5 };
  expect(
    readTimelinePage({
      flushes: [flush, { offset: 2 }, 7, { offset: 3, at: 1001 }],
      has_more: true,
      entries: 5,
      bytes: 9,
    }),
  ).toEqual({
    flushes: [flush, { offset: 3, entries: 0, bytes: 0, at: 1001 }],
    hasMore: true,
    entries: 5,
    bytes: 9,
  });
});

test("the first question is from the start, the next behind the newest flush", () => {
  expect(lastOffset(EMPTY_TIMELINE)).toBe(-1);
  expect(lastOffset(extended(EMPTY_TIMELINE, { ...PAGE, flushes: flushesAt([1, 2, 3], 4) }))).toBe(8);
});

test("pages that overlap, double or come in disorder give each flush once, by offset", () => {
  const flushes = flushesAt([1, 2, 3, 4]);
  const first = extended(EMPTY_TIMELINE, { ...PAGE, flushes: flushes.slice(0, 2).reverse() });
  const all = extended(first, { ...PAGE, flushes: [...flushes.slice(1), ...flushes.slice(2)].reverse() });
  expect(all.flushes).toEqual(flushes);
});

test("a page that adds nothing leaves the flushes as they are", () => {
  const known = extended(EMPTY_TIMELINE, { ...PAGE, flushes: flushesAt([1, 2]), entries: 2, bytes: 200 });
  const same = extended(known, { ...PAGE, flushes: flushesAt([1, 2]) });
  expect(same.flushes).toBe(known.flushes);
  expect(same.entries).toBe(2);
});

test("no more flushes are kept than are allowed, and that is said", () => {
  const cut = extended(EMPTY_TIMELINE, { ...PAGE, flushes: flushesAt([1, 2, 3]) }, 2);
  expect(cut.flushes.length).toBe(2);
  expect(cut.isCut).toBe(true);
  expect(extended(EMPTY_TIMELINE, { ...PAGE, flushes: flushesAt([1, 2]) }, 2).isCut).toBe(false);
});
