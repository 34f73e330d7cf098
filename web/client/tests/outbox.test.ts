import { describe, expect, test } from "vitest";
import { MAX_BUFFER_BYTES, Outbox } from "../src/outbox.ts";
import type { Entry } from "../src/session.ts";
import { FakeClock, settled } from "./fakes.ts";

function setUp(maxEntries = 50): { outbox: Outbox; posted: number[][]; clock: FakeClock } {
  const posted: number[][] = [];
  const clock = new FakeClock();
  const post = (entries: readonly Entry[]): void => void posted.push(entries.map(({ offset }) => offset));
  return { outbox: new Outbox({ maxEntries, clock, post }), posted, clock };
}

function entries(from: number, count: number): Entry[] {
  return Array.from({ length: count }, (_, index) => ({ offset: from + index, chunk: {} }));
}

describe("credit", () => {
  test("nothing is posted without it, everything that waits with it", () => {
    const { outbox, posted } = setUp();
    outbox.add(entries(0, 2), 10);
    outbox.add(entries(2, 1), 10);
    expect(posted).toEqual([]);
    outbox.grant(0);
    expect(posted).toEqual([[0, 1, 2]]);
    outbox.add(entries(3, 1), 10);
    expect(posted).toHaveLength(1);
  });

  test("that was granted before is used by what comes first", () => {
    const { outbox, posted } = setUp();
    outbox.grant(0);
    outbox.add(entries(0, 1), 1);
    expect(posted).toEqual([[0]]);
  });

  test("may ask for a pause, which a full buffer does not wait for", async () => {
    const { outbox, posted, clock } = setUp(3);
    outbox.grant(250);
    outbox.add(entries(0, 1), 1);
    await clock.advance(249);
    expect(posted).toEqual([]);
    await clock.advance(1);
    expect(posted).toEqual([[0]]);
    outbox.grant(250);
    outbox.add(entries(1, 2), 1);
    expect(posted).toHaveLength(1);
    outbox.add(entries(3, 1), 1);
    expect(posted[1]).toEqual([1, 2, 3]);
  });
});

describe("room", () => {
  test("ends with so many entries, and comes back when they are posted", async () => {
    const { outbox } = setUp(3);
    outbox.add(entries(0, 3), 3);
    let hasRoom = false;
    void outbox.room().then(() => {
      hasRoom = true;
    });
    await settled();
    expect([hasRoom, outbox.free]).toEqual([false, 0]);
    outbox.grant(0);
    await settled();
    expect([hasRoom, outbox.free]).toEqual([true, 3]);
  });

  test("ends with so many bytes, however few entries they are", () => {
    const { outbox } = setUp();
    outbox.add(entries(0, 1), MAX_BUFFER_BYTES);
    expect(outbox.isFull).toBe(true);
  });
});

test("the end waits until everything was posted", () => {
  const { outbox, posted } = setUp();
  const order: string[] = [];
  outbox.add(entries(0, 1), 1);
  outbox.end(() => order.push(`end after ${posted.length}`));
  expect(order).toEqual([]);
  outbox.grant(1000);
  expect(order).toEqual(["end after 1"]);
});
