/** Streams, flushes and surroundings for tests. */

import type { Surroundings } from "../../src/streams/poll.ts";
import { readStream, type Stream } from "../../src/streams/stream.ts";
import type { Flush } from "../../src/streams/timeline.ts";

/** Returns a stream as the relay would tell of it; `fields` are the relay's. */
export function streamOf(id: string, fields: Record<string, unknown> = {}): Stream {
  const stream = readStream({ id, state: "in_progress", created_at: 1000, model: "sim", engine: "openai", ...fields });
  if (stream === null) {
    throw new Error("no stream");
  }
  return stream;
}

/** Returns flushes at these times, of `entries` entries each, for a stream accepted at 1000. */
export function flushesAt(times: readonly number[], entries = 1): Flush[] {
  return times.map((time, index) => ({ offset: index * entries, entries, bytes: 100 * entries, at: 1000 + time }));
}

/** Time that passes on demand, and a tab that is hidden on demand. */
export class ManualSurroundings implements Surroundings {
  #now = 0;
  #isHidden = false;
  readonly #timers = new Map<number, { at: number; call: () => void }>();
  readonly #listeners = new Set<() => void>();
  #next = 0;

  /** Unix seconds; a test begins at 1000. */
  get nowS(): number {
    return 1000 + this.#now / 1000;
  }

  get timers(): number {
    return this.#timers.size;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  after(ms: number, call: () => void): () => void {
    const id = this.#next++;
    this.#timers.set(id, { at: this.#now + ms, call });
    return () => this.#timers.delete(id);
  }

  isHidden(): boolean {
    return this.#isHidden;
  }

  onChange(call: () => void): () => void {
    this.#listeners.add(call);
    return () => this.#listeners.delete(call);
  }

  setHidden(isHidden: boolean): void {
    this.#isHidden = isHidden;
    for (const call of [...this.#listeners]) {
      call();
    }
  }

  /** Lets time pass, and all that waits for it run. */
  async pass(ms: number): Promise<void> {
    this.#now += ms;
    for (const [id, { at, call }] of [...this.#timers]) {
      if (at <= this.#now) {
        this.#timers.delete(id);
        call();
      }
    }
    await settled();
  }
}

/** Lets promises that wait for nothing but each other come to rest. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 30; turn += 1) {
    await Promise.resolve();
  }
}
