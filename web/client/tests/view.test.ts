import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Pacer } from "../src/pacer.ts";
import { systemView, viewOf } from "../src/view.ts";
import { FakeClock, FakeFrames, settled } from "./fakes.ts";

describe("in a page", () => {
  class FakeDocument extends EventTarget {
    hidden = false;
  }

  let page: FakeDocument;
  let frames: Map<number, () => void>;

  beforeEach(() => {
    page = new FakeDocument();
    frames = new Map();
    let count = 0;
    vi.stubGlobal("document", page);
    vi.stubGlobal("requestAnimationFrame", (run: () => void) => {
      count += 1;
      frames.set(count, run);
      return count;
    });
    vi.stubGlobal("cancelAnimationFrame", (id: number) => frames.delete(id));
  });

  afterEach(() => {
    vi.unstubAllGlobals();
  });

  function hide(): void {
    page.hidden = true;
    page.dispatchEvent(new Event("visibilitychange"));
  }

  test("something runs with the next frame, once", () => {
    const run = vi.fn<() => void>();
    systemView(16).schedule(run);
    expect(run).not.toHaveBeenCalled();
    for (const frame of [...frames.values()]) frame();
    hide();
    expect(run).toHaveBeenCalledOnce();
  });

  test("a frame that will never be painted, because the page was hidden, is now", () => {
    const run = vi.fn<() => void>();
    systemView(16).schedule(run);
    hide();
    expect(run).toHaveBeenCalledOnce();
    expect(frames.size).toBe(0);
  });

  test("a hidden page waits for no frame, and for no timer either", async () => {
    hide();
    const run = vi.fn<() => void>();
    const view = systemView(16);
    view.schedule(run);
    await settled();
    expect(run).toHaveBeenCalledOnce();
    expect(frames.size).toBe(0);
    expect([view.isHidden(), view.paceMs()]).toEqual([true, 250]);
  });

  test("what was called off does not run", () => {
    const run = vi.fn<() => void>();
    systemView(16).schedule(run)();
    hide();
    expect([run.mock.calls.length, frames.size]).toEqual([0, 0]);
  });
});

test("without a page nothing is seen, and the throttle paces", () => {
  const view = systemView(40);
  expect([view.isHidden(), view.paceMs()]).toEqual([true, 40]);
});

describe("a pacer", () => {
  test("runs once for all that is asked for before a frame", async () => {
    const frames = new FakeFrames();
    const run = vi.fn<() => void>();
    const pacer = new Pacer(
      viewOf(frames.schedule, () => false),
      new FakeClock(),
      16,
      run,
    );
    for (let count = 0; count < 5; count++) pacer.request();
    await frames.paint();
    await frames.paint();
    expect(run).toHaveBeenCalledOnce();
  });

  test("leaves as much time between two runs as its throttle says", async () => {
    const clock = new FakeClock();
    const frames = new FakeFrames();
    const runs: number[] = [];
    const since = clock.now();
    const pacer = new Pacer(
      viewOf(frames.schedule, () => false),
      clock,
      100,
      () => runs.push(clock.now() - since),
    );
    for (let ms = 0; ms < 500; ms += 10) {
      pacer.request();
      await frames.paint();
      await clock.advance(10);
    }
    expect(runs).toHaveLength(5);
    expect(runs.slice(1).every((at, index) => at - (runs[index] ?? 0) >= 100)).toBe(true);
  });

  test("that was stopped runs nothing", async () => {
    const frames = new FakeFrames();
    const run = vi.fn<() => void>();
    const pacer = new Pacer(
      viewOf(frames.schedule, () => false),
      new FakeClock(),
      16,
      run,
    );
    pacer.request();
    pacer.stop();
    await frames.paint();
    expect(run).not.toHaveBeenCalled();
  });
});
