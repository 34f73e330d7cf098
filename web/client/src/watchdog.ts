/** Notices silence. */

import type { Clock } from "./clock.ts";

export class Watchdog {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #onSilence: () => void;
  #callOff: (() => void) | null = null;
  #heardAt = 0;

  constructor(clock: Clock, timeoutMs: number, onSilence: () => void) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#onSilence = onSilence;
  }

  /** Something came, or is asked for now: silence begins anew. Cheap: the timer is not set again each time. */
  feed(): void {
    this.#heardAt = this.#clock.now();
    this.#callOff ??= this.#clock.after(this.#timeoutMs, () => this.#look());
  }

  /** Nobody listens: silence means nothing. */
  rest(): void {
    this.#callOff?.();
    this.#callOff = null;
  }

  #look(): void {
    this.#callOff = null;
    const leftMs = this.#heardAt + this.#timeoutMs - this.#clock.now();
    if (leftMs <= 0) this.#onSilence();
    else this.#callOff = this.#clock.after(leftMs, () => this.#look());
  }
}
