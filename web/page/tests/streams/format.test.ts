import { expect, test } from "vitest";
import {
  formatAge,
  formatBytes,
  formatCount,
  formatCounted,
  formatDuration,
  formatMoment,
  formatRate,
  formatShortCount,
  formatTick,
} from "../../src/streams/format.ts";

test.each([
  [0, "0 ms"],
  [0.0034, "3 ms"],
  [0.9994, "999 ms"],
  [0.9996, "1.00 s"],
  [9.994, "9.99 s"],
  [9.999, "10.0 s"],
  [59.94, "59.9 s"],
  [59.96, "1 min"],
  [75.2, "1 min 15 s"],
  [3599.6, "1 h"],
  [7260, "2 h 1 min"],
  [180_000, "2 d 2 h"],
])("a duration of %d s reads %s", (seconds, text) => expect(formatDuration(seconds)).toBe(text));

test.each([
  [0.4, "just now"],
  [12.9, "12 s ago"],
  [60, "1 min ago"],
  [7199, "1 h ago"],
  [200_000, "2 d ago"],
])("an age of %d s reads %s", (seconds, text) => expect(formatAge(seconds)).toBe(text));

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.00 kB"],
  [999_600, "1.00 MB"],
  [45_600_000, "45.6 MB"],
  [123_000_000, "123 MB"],
  [4e15, "4000 TB"],
])("%d bytes read %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

test("counts are grouped, and their noun follows their number", () => {
  expect(formatCount(1_234_567)).toBe("1,234,567");
  expect([400, 9999, 30_000, 1_500_000].map(formatShortCount)).toEqual(["400", "9,999", "30K", "1.5M"]);
  expect(formatCounted(1, "entry", "entries")).toBe("1 entry");
  expect(formatCounted(0, "entry", "entries")).toBe("0 entries");
});

test("rates have a decimal only while it matters", () => {
  expect(formatRate(3.456)).toBe("3.5");
  expect(formatRate(9.96)).toBe("10");
  expect(formatRate(1517.2)).toBe("1,517");
});

test.each([
  [0, 0.5, "0"],
  [0.04, 0.02, "40 ms"],
  [1.5, 0.5, "1.5 s"],
  [30, 15, "30 s"],
  [90, 15, "1 min 30 s"],
  [600, 300, "10 min"],
])("a tick at %d s with a step of %d s reads %s", (at, step, text) => expect(formatTick(at, step)).toBe(text));

test("a moment names its day and its second", () => {
  const text = formatMoment(1_795_273_106, "en-GB");
  expect(text).toMatch(/2026/);
  expect(text).toMatch(/:\d\d:\d\d/);
});
