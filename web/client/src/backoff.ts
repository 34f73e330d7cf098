/** How long to wait before the next try. */

const MAX_MS = 5000;

/**
 * Exponential backoff with full jitter: many clients of one relay that restarts must not come back together.
 * See https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
 */
export class Backoff {
  readonly #baseMs: number;
  readonly #random: () => number;
  #failures = 0;

  /**
   * @param baseMs Ceiling of the first wait; it doubles with each failure, up to 5 s (or this, if it is more).
   * @param random Returns numbers from 0 up to 1.
   */
  constructor(baseMs: number, random: () => number) {
    this.#baseMs = baseMs;
    this.#random = random;
  }

  /** Returns how long to wait after one more failure, in milliseconds; `atLeastMs` is what the server asked for. */
  nextMs(atLeastMs: number | null = null): number {
    const ceilingMs = Math.min(Math.max(MAX_MS, this.#baseMs), this.#baseMs * 2 ** Math.min(this.#failures, 32));
    this.#failures += 1;
    return (atLeastMs ?? 0) + this.#random() * ceilingMs;
  }

  /** Begins anew: something came. */
  reset(): void {
    this.#failures = 0;
  }
}
