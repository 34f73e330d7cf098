// @vitest-environment jsdom
import { expect, test } from "vitest";
import { MarkdownView } from "../src/index.ts";
import { Pace } from "../src/pace.ts";
import { FIXED } from "./harness.ts";

/** How long the page has its time after a drawing that took `drawMs`. */
function restMs(drawMs: number): number {
  let clock = 1000;
  const pace = new Pace(() => clock);
  expect(pace.isResting).toBe(false);
  pace.begin();
  clock += drawMs;
  expect(pace.takenMs).toBe(drawMs);
  pace.end();
  const end = clock;
  while (pace.isResting) clock += 1;
  return clock - end;
}

test.each([
  [0, 0],
  [1, 7],
  [3, 21],
  [8, 56],
  [20, 100],
  [500, 100],
])("after a drawing of %d ms the page has its time for %d ms", (drawMs, ms) => {
  expect(restMs(drawMs)).toBe(ms);
});

test("a view lets frames pass while it rests, and draws all that has come after it", () => {
  let clock = 0;
  const frames: (() => void)[] = [];
  const root = document.createElement("div");
  const view = new MarkdownView(root, {
    ...FIXED,
    budgetMs: 1000,
    // Each look at the clock takes a while, so that drawing does.
    now: () => {
      clock += 5;
      return clock;
    },
    schedule: (draw) => {
      frames.push(draw);
      return () => {};
    },
  });
  view.write("one ");
  frames.shift()?.();
  expect(root.textContent).toBe("one");
  const drawn = clock;
  view.write("two ");
  view.end();
  let passed = 0;
  while (root.textContent === "one" && passed < 100) {
    frames.shift()?.();
    passed += 1;
  }
  expect(passed).toBeGreaterThan(3);
  expect(clock - drawn).toBeGreaterThanOrEqual(50);
  expect(clock - drawn).toBeLessThanOrEqual(150);
  expect(root.textContent).toBe("one two");
});

test("flush does not wait", () => {
  let clock = 0;
  const frames: (() => void)[] = [];
  const root = document.createElement("div");
  const view = new MarkdownView(root, {
    ...FIXED,
    now: () => {
      clock += 50;
      return clock;
    },
    schedule: (draw) => {
      frames.push(draw);
      return () => {};
    },
  });
  view.write("zero ");
  frames.shift()?.();
  view.write("one ");
  view.write("two ");
  view.flush();
  expect(root.textContent).toBe("zero one two");
});
