import { describe, expect, test } from "vitest";
import { columnsOf, dayBars, groupBars, MAX_GROUPS, measureOf, sizeOf, topOf } from "../../src/usage/bars.ts";
import { lineJSON, reportOf } from "./kit.ts";

const lines = (...all: [group: string, reported: number, estimated?: number][]) =>
  reportOf(
    all.map(([group, reported, estimated]) => lineJSON(group, reported, estimated)),
    {},
  ).lines;

describe("bars", () => {
  test("stand for every day, used or not, in order", () => {
    const bars = dayBars(lines(["2026-11-02", 2, 1]), ["2026-11-01", "2026-11-02"], "completion");
    expect(bars).toEqual([
      { label: "2026-11-01", reported: 0, estimated: 0 },
      { label: "2026-11-02", reported: 800, estimated: 400 },
    ]);
  });

  test("stand for the largest groups, and one for all others: nothing is lost", () => {
    const many = lines(...Array.from({ length: 20 }, (_, index): [string, number] => [`m${index}`, index]));
    const bars = groupBars(many, (group) => `model ${group}`, "cost");
    expect(bars).toHaveLength(MAX_GROUPS);
    expect([bars[0]?.label, bars.at(-1)?.label]).toEqual(["model m19", "13 others"]);
    const total = many.reduce((sum, { cost }) => sum + cost, 0);
    expect(bars.reduce((sum, bar) => sum + sizeOf(bar), 0)).toBeCloseTo(total, 9);
  });

  test("measure money where any was spent, else tokens", () => {
    expect(measureOf(reportOf([], lineJSON("", 1)).total)).toBe("cost");
    expect(measureOf(reportOf([], lineJSON("", 1, 0, { cost_usd: "0" })).total)).toBe("completion");
  });
});

test.each([
  [0, 1],
  [0.0034, 0.005],
  [0.1, 0.1],
  [1, 1],
  [2.1, 5],
  [51, 100],
])("a scale for %d ends at %d", (value, top) => {
  expect(topOf(value)).toBeCloseTo(top, 12);
});

test("columns stay apart and inside, however many there are", () => {
  for (const count of [1, 7, 31, 200]) {
    const places = columnsOf(count, 640);
    expect(places).toHaveLength(count);
    places.forEach(({ x, wide }, index) => {
      expect(x).toBeGreaterThanOrEqual(0);
      expect(x + wide).toBeLessThanOrEqual((places[index + 1]?.x ?? 640) + 1e-6);
    });
  }
});
