import { expect, test } from "vitest";
import { tellStop } from "../src/stopper.ts";
import { FakeClock } from "./fakes.ts";

interface Told {
  requests: number;
  result: boolean | null;
}

/** Answers with one status after the other, the last one for ever; null is no answer. */
async function tellOver(statuses: readonly (number | null)[], { ms = 60_000, isOver = false } = {}): Promise<Told> {
  const clock = new FakeClock();
  const told: Told = { requests: 0, result: null };
  const fetch = (): Promise<Response> => {
    const status = statuses[Math.min(told.requests, statuses.length - 1)] ?? null;
    told.requests += 1;
    return status === null
      ? Promise.reject(new TypeError("Failed to fetch"))
      : Promise.resolve(new Response("", { status }));
  };
  const request = { url: "http://relay/v1/streams/s1/cancel", headers: {}, tryForMs: 30_000, isOver: () => isOver };
  void tellStop(fetch, clock, request).then((result) => {
    told.result = result;
  });
  await clock.advance(ms);
  return told;
}

test("a relay that knows is told once", async () => {
  expect(await tellOver([200])).toEqual({ requests: 1, result: true });
});

test("a stream that is not known yet is asked for again, for two seconds", async () => {
  expect(await tellOver([404, 404, 200])).toEqual({ requests: 3, result: true });
  const { requests, result } = await tellOver([404]);
  expect(result).toBe(false);
  expect(requests).toBeLessThan(10);
});

test("a network that is away is tried for as long as the stream lingers", async () => {
  expect(await tellOver([null, null, 503, 200])).toEqual({ requests: 4, result: true });
  expect((await tellOver([null], { ms: 29_000 })).result).toBeNull();
  expect((await tellOver([null])).result).toBe(false);
});

test("a refusal is final", async () => {
  expect(await tellOver([403])).toEqual({ requests: 1, result: false });
});

test("nothing more is tried once the end is known", async () => {
  expect(await tellOver([null], { isOver: true })).toEqual({ requests: 1, result: false });
});
