/** What waits between a connection and the page. */

import type { Clock } from "./clock.ts";
import type { Entry } from "./session.ts";

/** Bytes that may wait until reading stops, whatever the number of chunks. */
export const MAX_BUFFER_BYTES = 512 * 1024;

export interface OutboxOptions {
  readonly maxEntries: number;
  readonly clock: Clock;
  /** Gives entries away; called with one credit each time. */
  readonly post: (entries: readonly Entry[]) => void;
}

/**
 * Posts batches against credit, everything that waits at once. Full is a state, not a limit: one more read may be added, so it
 * holds at most `maxEntries`, `MAX_BUFFER_BYTES` and one read. A credit may ask for a pause before its batch, so that a hidden
 * page is not woken for each token; a full buffer does not pause, so nothing stalls for it.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  #entries: Entry[] = [];
  #bytes = 0;
  #credits = 0;
  #notBefore = 0;
  #callOff: (() => void) | null = null;
  #waiting: (() => void)[] = [];
  #isEnded = false;
  #onEmpty: (() => void) | null = null;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  get isFull(): boolean {
    return this.#entries.length >= this.#options.maxEntries || this.#bytes >= MAX_BUFFER_BYTES;
  }

  /** Entries until it is full. */
  get free(): number {
    return this.isFull ? 0 : this.#options.maxEntries - this.#entries.length;
  }

  /** Adds what came in one read. */
  add(entries: readonly Entry[], bytes: number): void {
    if (entries.length === 0) return;
    for (const entry of entries) this.#entries.push(entry);
    this.#bytes += bytes;
    this.#flush();
  }

  /** Allows one more batch, after `paceMs` unless it is full before. */
  grant(paceMs: number): void {
    this.#credits += 1;
    this.#notBefore = this.#options.clock.now() + paceMs;
    this.#flush();
  }

  /** Nothing more is added; calls `onEmpty` once everything has been posted. */
  end(onEmpty: () => void): void {
    this.#isEnded = true;
    this.#onEmpty = onEmpty;
    this.#flush();
    this.wake();
  }

  /** Throws away what waits. */
  clear(): void {
    this.#entries = [];
    this.#bytes = 0;
    this.#callOff?.();
    this.wake();
  }

  /** Resolves when it is not full. */
  room(): Promise<void> {
    return this.isFull && !this.#isEnded ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve();
  }

  /** Resolves whoever waits for room, so that they look again at whether they still want it. */
  wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  #flush(): void {
    if (this.#entries.length > 0 && this.#credits > 0) {
      const leftMs = this.#notBefore - this.#options.clock.now();
      if (leftMs > 0 && !this.isFull && !this.#isEnded) {
        this.#callOff ??= this.#options.clock.after(leftMs, () => {
          this.#callOff = null;
          this.#flush();
        });
        return;
      }
      this.#post();
    }
    if (this.#isEnded && this.#entries.length === 0) {
      this.#onEmpty?.();
      this.#onEmpty = null;
    }
  }

  #post(): void {
    const entries = this.#entries;
    this.#entries = [];
    this.#bytes = 0;
    this.#credits -= 1;
    this.#options.post(entries);
    this.wake();
  }
}
