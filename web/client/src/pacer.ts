/** Calls something at most once a frame, and no more often than a throttle allows. */

import type { Clock } from "./clock.ts";
import type { View } from "./view.ts";

/** A frame of 60 Hz: a throttle up to this is what frames do anyway. */
const FRAME_MS = 17;

export class Pacer {
  readonly #view: View;
  readonly #clock: Clock;
  readonly #throttleMs: number;
  readonly #run: () => void;
  #callOff: (() => void) | null = null;
  #lastAt = Number.NEGATIVE_INFINITY;

  constructor(view: View, clock: Clock, throttleMs: number, run: () => void) {
    this.#view = view;
    this.#clock = clock;
    this.#throttleMs = throttleMs;
    this.#run = run;
  }

  /** There is something to run for; asked for again before it has run, it is one run. */
  request(): void {
    if (this.#callOff !== null) return;
    const leftMs = this.#lastAt + this.#throttleMs - this.#clock.now();
    const mustWait = this.#throttleMs > FRAME_MS && leftMs > 0 && !this.#view.isHidden();
    this.#callOff = mustWait ? this.#clock.after(leftMs, () => this.#schedule()) : () => {};
    if (!mustWait) this.#schedule();
  }

  /** Runs nothing any more. */
  stop(): void {
    this.#callOff?.();
    this.#callOff = null;
  }

  #schedule(): void {
    this.#callOff = this.#view.schedule(() => {
      this.#callOff = null;
      this.#lastAt = this.#clock.now();
      this.#run();
    });
  }
}
