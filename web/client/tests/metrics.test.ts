import { expect, test } from "vitest";
import { STREAM_CONFIG } from "../src/config.ts";
import { type Measured, metricsOf } from "../src/metrics.ts";
import { painted } from "../src/paint.ts";
import { Stopwatch } from "../src/stopwatch.ts";
import { viewOf } from "../src/view.ts";
import { FakeClock, FakeFrames, settled } from "./fakes.ts";

async function measured(): Promise<Measured> {
  const clock = new FakeClock();
  const stopwatch = new Stopwatch(clock);
  const startedAt = clock.now();
  await clock.advance(100);
  stopwatch.byte();
  await clock.advance(50);
  for (let count = 0; count < 5; count++) {
    stopwatch.content();
    await clock.advance(20);
  }
  const cancelledAt = clock.now();
  await clock.advance(30);
  stopwatch.end();
  await clock.advance(1000);
  stopwatch.end();
  const rest = { reconnects: 2, finishReason: "stop", usage: null, state: "cancelled", transport: "fetch" } as const;
  return { startedAt, times: stopwatch.times(), visibleAt: startedAt + 175, cancelledAt, ...rest };
}

test("all times count from the call", async () => {
  expect(metricsOf(await measured(), STREAM_CONFIG.metrics)).toEqual({
    firstByteMs: 100,
    firstTokenMs: 150,
    firstVisibleMs: 175,
    tpotMs: 20,
    totalMs: 280,
    cancelMs: 30,
    reconnects: 2,
    finishReason: "stop",
    state: "cancelled",
    transport: "fetch",
    tokens: 5,
  });
});

test("tokens are those of usage where it is known", async () => {
  const metrics = metricsOf({ ...(await measured()), usage: { completion_tokens: 9 } }, STREAM_CONFIG.metrics);
  expect([metrics.tokens, metrics.tpotMs]).toEqual([9, 10]);
});

test("one token has no time per token", async () => {
  const { tpotMs } = metricsOf({ ...(await measured()), usage: { completion_tokens: 1 } }, STREAM_CONFIG.metrics);
  expect(tpotMs).toBeNull();
});

test("what is turned off is null", async () => {
  const off = { ttft: false, tpot: false, cancellation: false, finishReason: false, report: false };
  expect(metricsOf(await measured(), off)).toMatchObject({
    firstByteMs: null,
    firstTokenMs: null,
    firstVisibleMs: null,
    tpotMs: null,
    cancelMs: null,
    finishReason: null,
    totalMs: 280,
  });
});

test("what did not happen is null", () => {
  const times = new Stopwatch(new FakeClock()).times();
  const nothing = {
    startedAt: 0,
    times,
    visibleAt: null,
    cancelledAt: null,
    reconnects: 0,
    finishReason: null,
    usage: null,
  } as const;
  const metrics = metricsOf({ ...nothing, state: "failed", transport: "fetch" }, STREAM_CONFIG.metrics);
  expect(Object.values(metrics).filter((value) => value !== null)).toEqual([0, "failed", "fetch", 0]);
});

test("something is painted two frames on; not in a hidden page, and not when no frame comes", async () => {
  const clock = new FakeClock();
  const frames = new FakeFrames();
  let isHidden = false;
  const view = viewOf(frames.schedule, () => isHidden);
  let seen: number | null | undefined;
  const look = (): void => {
    seen = undefined;
    void painted(view, clock).then((at) => {
      seen = at;
    });
  };
  look();
  await frames.paint();
  expect(seen).toBeUndefined();
  await frames.paint();
  expect(seen).toBe(clock.now());
  look();
  await clock.advance(500);
  expect(seen).toBeNull();
  look();
  await frames.paint();
  isHidden = true;
  await frames.paint();
  expect(seen).toBeNull();
  look();
  await settled();
  expect(seen).toBeNull();
});
