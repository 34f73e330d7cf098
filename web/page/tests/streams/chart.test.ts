import { expect, test } from "vitest";
import { roundTop, ticks, timeStep } from "../../src/streams/chart/axis.ts";
import { barOfFlush, barsOf, COLUMN_PX, nearestBar } from "../../src/streams/chart/bars.ts";
import { frameOf } from "../../src/streams/chart/frame.ts";
import { gapsIn, medianStep, threshold } from "../../src/streams/chart/gaps.ts";
import { CHARACTER_PX, placeLabels } from "../../src/streams/chart/labels.ts";
import { plotOf } from "../../src/streams/chart/plot.ts";
import { readoutOf, sentenceOf, summaryOf } from "../../src/streams/chart/readout.ts";
import { stepOf } from "../../src/streams/chart/steps.ts";
import { flushesAt, streamOf } from "./kit.ts";

const every = (step: number, count: number, from = 0) =>
  Array.from({ length: count }, (_, index) => from + index * step);
const ended = (endS: number, fields = {}) => streamOf("a", { state: "completed", ended_at: 1000 + endS, ...fields });

test("a stretch is a gap when it is longer than a second and than five times the median", () => {
  expect(threshold(0.05)).toBe(1);
  expect(threshold(0.5)).toBe(2.5);
  expect([[], [3], [0, 1, 5], [0, 2, 3, 7]].map(medianStep)).toEqual([0, 0, 2.5, 2]);
});

test("gaps lie between flushes, and between the last one and the end", () => {
  const times = [...every(0.1, 10), ...every(0.1, 10, 3)];
  expect(gapsIn(times, 0.1, { fromS: 0, toS: 8, isOpen: false })).toEqual([
    { fromS: times[9], toS: 3, isOpen: false },
    { fromS: times[19], toS: 8, isOpen: false },
  ]);
});

test("a gap at the end of what runs lasts still", () => {
  expect(gapsIn(every(0.1, 5), 0.1, { fromS: 0, toS: 4, isOpen: true }).at(-1)?.isOpen).toBe(true);
});

test("an even stream has no gaps, however slow it is", () => {
  expect(gapsIn(every(20, 10), 20, { fromS: 0, toS: 200, isOpen: false })).toEqual([]);
});

test("waiting for the first token is no gap", () => {
  const plot = plotOf(ended(6, { first_content_at: 1005 }), flushesAt([0.01, 5, 5.1, 5.2, 5.3]), 0);
  expect(plot.firstTokenS).toBe(5);
  expect(plot.gaps).toEqual([]);
});

test("a plot of a running stream reaches until now, that of an ended one until its end", () => {
  expect(plotOf(streamOf("a"), flushesAt([1, 2]), 1009).spanS).toBe(9);
  expect(plotOf(ended(3), flushesAt([1, 2]), 1009)).toMatchObject({ spanS: 3, endS: 3, totals: [1, 2] });
});

test("a plot never goes back in time, and always has a width", () => {
  expect(plotOf(ended(3), flushesAt([1, 0.5, -2]), 0).times).toEqual([1, 1, 1]);
  expect(plotOf(ended(0), [], 0).spanS).toBeGreaterThan(0);
});

test("with room for each, each flush is a bar at its time", () => {
  const bars = barsOf(plotOf(ended(10), flushesAt(every(1, 10), 3), 0), 500);
  expect(bars.map(({ first, last, entries }) => [first, last, entries])).toEqual(every(1, 10).map((i) => [i, i, 3]));
  expect(bars[4]?.centre).toBe(200);
  for (const bar of bars) {
    expect(bar.x).toBeGreaterThanOrEqual(0);
    expect(bar.x + bar.width).toBeLessThanOrEqual(500);
  }
});

test("bars of single flushes do not lie over each other", () => {
  const bars = barsOf(plotOf(ended(20), flushesAt(every(0.1, 60)), 0), 500);
  for (const [index, bar] of bars.entries()) {
    const next = bars[index + 1];
    expect(next === undefined || bar.x + bar.width <= next.x + 1e-9 || index === 0).toBe(true);
  }
});

test.each([[50_000], [400], [251]])("%d flushes in 500 pixels are binned, and nothing is lost", (count) => {
  const bars = barsOf(plotOf(ended(100), flushesAt(every(100 / count, count), 2), 0), 500);
  expect(bars.length).toBeLessThanOrEqual(500 / COLUMN_PX);
  expect(bars.reduce((sum, bar) => sum + bar.entries, 0)).toBe(2 * count);
  expect(bars[0]?.first).toBe(0);
  expect(bars.at(-1)?.last).toBe(count - 1);
  for (const [index, bar] of bars.entries()) {
    expect(bar.first).toBe((bars[index - 1]?.last ?? -1) + 1);
  }
});

test("flushes crowded into a corner are binned although there are few", () => {
  const bars = barsOf(plotOf(ended(1000), flushesAt(every(0.05, 100)), 0), 500);
  expect(bars.length).toBeLessThan(10);
});

test("the picture of fifty thousand flushes is no larger than the screen", () => {
  const plot = plotOf(ended(2500), flushesAt(every(0.05, 50_000)), 0);
  const frame = frameOf(plot, { state: "completed", words: null }, 1000);
  expect(frame.isBinned).toBe(true);
  expect(frame.shape.length).toBeLessThan(50_000);
});

test("the nearest bar is found on both sides, and beyond the ends", () => {
  const bars = barsOf(plotOf(ended(10), flushesAt([0, 4, 10]), 0), 100);
  expect([-50, 19, 21, 69, 71, 500].map((x) => nearestBar(bars, x))).toEqual([0, 0, 1, 1, 2, 2]);
  expect(nearestBar([], 5)).toBe(-1);
  expect(barOfFlush(bars, 1)).toBe(1);
  expect(barOfFlush(bars, 9)).toBe(-1);
});

test.each([
  ["ArrowRight", 3, 4],
  ["ArrowUp", 3, 4],
  ["ArrowLeft", 3, 2],
  ["ArrowDown", 3, 2],
  ["PageUp", 3, 13],
  ["PageDown", 13, 3],
  ["PageUp", 17, 19],
  ["Home", 9, 0],
  ["End", 9, 19],
  ["ArrowLeft", 0, 0],
  ["ArrowRight", 19, 19],
  ["ArrowRight", -1, 0],
])("%s leads from bar %d to bar %d of 20", (key, at, to) => expect(stepOf(key, at, 20)).toBe(to));

test("other keys are not the timeline's", () => {
  expect(stepOf("Tab", 3, 20)).toBeNull();
  expect(stepOf("a", 3, 20)).toBeNull();
});

test("labels lie in the plot, none over another, and the important ones stay when room is short", () => {
  const labels = every(1, 12).map((i) => ({ key: `l${i}`, text: "gap 4.2 s", x: i * 20, rank: i === 11 ? 0 : i + 1 }));
  const placed = placeLabels(labels, 240, 2);
  expect(placed[0]?.key).toBe("l11");
  expect(placed.length).toBeLessThan(labels.length);
  for (const [index, label] of placed.entries()) {
    const right = label.left + label.text.length * CHARACTER_PX;
    expect(label.left >= 0 && right <= 240.001).toBe(true);
    const others = placed.slice(index + 1).filter((other) => other.row === label.row);
    expect(
      others.every((other) => other.left > right || other.left + other.text.length * CHARACTER_PX < label.left),
    ).toBe(true);
  }
});

test("a label of the end ends where the plot does, one of the start begins there", () => {
  const [end, start] = placeLabels(
    [
      { key: "end", text: "complete", x: 400, rank: 0 },
      { key: "start", text: "accepted", x: 0, rank: 1 },
    ],
    400,
    1,
  );
  expect([end?.isAtEnd, start?.isAtEnd, start?.left]).toEqual([true, false, 0]);
});

test("a label wider than the plot is left out", () => {
  expect(placeLabels([{ key: "a", text: "a very long label", x: 0, rank: 0 }], 20, 2)).toEqual([]);
});

test("the axis has round steps, and no more of them than asked for", () => {
  expect(timeStep(6.5, 12)).toBe(1);
  expect(timeStep(130, 5)).toBe(30);
  expect(timeStep(900_000, 5)).toBe(259_200);
  expect(ticks(1, 0.2).length).toBe(6);
  expect([0, 1, 7, 30, 311, 20_003].map(roundTop)).toEqual([1, 1, 8, 30, 400, 30_000]);
});

test("what is said of a flush: offsets, entries, bytes, time and the gap before", () => {
  const plot = plotOf(ended(3), flushesAt([0.5, 1.75], 4), 0);
  const [, bar] = barsOf(plot, 300);
  const readout = bar === undefined ? null : readoutOf(plot, bar);
  expect(readout).toEqual({
    title: "Flush 2 of 2",
    facts: [
      ["Offsets", "4 to 7"],
      ["Entries", "4"],
      ["Bytes", "400 B"],
      ["Time", "at 1.75 s"],
      ["Gap before", "1.25 s"],
    ],
  });
  expect(readout === null ? "" : sentenceOf(readout)).toBe(
    "Flush 2 of 2: offsets 4 to 7, entries 4, bytes 400 B, time at 1.75 s, gap before 1.25 s",
  );
  expect(summaryOf(plot)).toBe("2 flushes with 8 entries in 3.00 s, no gaps");
});

test("what is said of a bar of several flushes", () => {
  const plot = plotOf(ended(100), flushesAt(every(0.01, 10_000)), 0);
  const bar = barsOf(plot, 500)[1];
  expect(bar === undefined ? null : readoutOf(plot, bar).title).toMatch(/^Flushes \d+ to \d+ of 10,000$/);
});

test("a frame labels the marks with their times", () => {
  const plot = plotOf(ended(8, { first_content_at: 1001 }), flushesAt([1, 1.1, 1.2, 1.3, 5.3, 5.4]), 0);
  const end = { state: "truncated", words: "The engine fell silent" } as const;
  const texts = (width: number) => frameOf(plot, end, width).labels.map(({ text }) => text);
  expect(texts(800).sort()).toEqual([
    "accepted",
    "cut short 8.00 s: the engine fell silent",
    "first token 1.00 s",
    "gap 2.60 s",
    "gap 4.00 s",
  ]);
  expect(texts(280)).toContain("cut short 8.00 s");
});
