/** Stand-ins for what the platform gives, under the tests' control. */

import type { Clock } from "../src/clock.ts";
import type { Network } from "../src/network.ts";

/** A clock that moves when it is told to. */
export class FakeClock implements Clock {
  #now = 1_000_000;
  #timers: { at: number; run: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((each) => each !== timer);
    };
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Moves time on, and lets everything that follows from it happen. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    for (;;) {
      await settled();
      const next = this.#timers.filter(({ at }) => at <= until).sort((one, other) => one.at - other.at)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((each) => each !== next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
    this.#now = until;
    await settled();
  }

  /** The device sleeps: time goes by, and no timer fires before it wakes. */
  sleep(ms: number): void {
    this.#now += ms;
  }
}

/** Resolves when all promises that can settle have. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}

/** Frames that are painted when the test says so. */
export class FakeFrames {
  #waiting: (() => void)[] = [];

  readonly schedule = (run: () => void): (() => void) => {
    this.#waiting.push(run);
    return () => {
      this.#waiting = this.#waiting.filter((each) => each !== run);
    };
  };

  async paint(): Promise<void> {
    await settled();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const run of waiting) run();
    await settled();
  }
}

/** A network that comes and goes. */
export class FakeNetwork implements Network {
  online = true;
  readonly #listeners = new Set<() => void>();

  isOnline(): boolean {
    return this.online;
  }

  onOnline(run: () => void): () => void {
    this.#listeners.add(run);
    return () => this.#listeners.delete(run);
  }

  comeBack(): void {
    this.online = true;
    for (const run of [...this.#listeners]) run();
  }
}

/** Numbers that look random and are the same each time (mulberry32, public domain). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Cuts bytes at random places; empty pieces included. */
export function randomSplit(bytes: Uint8Array, random: () => number): Uint8Array[] {
  const longest = 1 + Math.floor(random() * 12);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = Math.floor(random() * (longest + 1));
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

/** Returns a chunk of chat with some text. */
export function textChunk(content: string): { choices: unknown[] } {
  return { choices: [{ index: 0, delta: { content }, finish_reason: null }] };
}
