/** After a drawing the page has its time for so many times as long as it took, and for at most so many milliseconds. */
const REST = 7;
const MOST_MS = 100;

/**
 * Says when the next drawing may begin, so that drawing takes at most an eighth of the page's thread: a drawing of 2 ms may
 * follow in the next frame, and a slow device draws less often instead of having no time for input.
 */
export class Pace {
  readonly #now: () => number;
  #startMs = 0;
  #restsUntilMs = Number.NEGATIVE_INFINITY;

  /** `now`: milliseconds of a steady clock. */
  constructor(now: () => number) {
    this.#now = now;
  }

  get isResting(): boolean {
    return this.restMs > 0;
  }

  /** How long the page still has its time. */
  get restMs(): number {
    return Math.max(0, this.#restsUntilMs - this.#now());
  }

  begin(): void {
    this.#startMs = this.#now();
  }

  /** How long the drawing takes by now. */
  get takenMs(): number {
    return this.#now() - this.#startMs;
  }

  end(): void {
    const nowMs = this.#now();
    this.#restsUntilMs = nowMs + Math.min(REST * (nowMs - this.#startMs), MOST_MS);
  }
}
