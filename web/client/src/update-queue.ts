/** Updates for a loop that takes them one by one. */

import type { StreamUpdate } from "./generation.ts";

/** Without a loop it holds nothing; with one, what the loop has not asked for yet, which holds back the credit for more. */
export class UpdateQueue {
  readonly #onWanted: () => void;
  #isIterated = false;
  #isReleased = false;
  #updates: StreamUpdate[] = [];
  #waiting: ((result: IteratorResult<StreamUpdate>) => void) | null = null;
  #reject: ((error: Error) => void) | null = null;
  #isEnded = false;
  #error: Error | null = null;

  /** @param onWanted The loop asks for more. */
  constructor(onWanted: () => void) {
    this.#onWanted = onWanted;
  }

  /** There is no loop, or it waits. */
  get wantsMore(): boolean {
    return !this.#isIterated || this.#isReleased || this.#waiting !== null;
  }

  /** Takes everything from now on, whether the loop asks or not. */
  release(): void {
    this.#isReleased = true;
  }

  push(update: StreamUpdate): void {
    if (!this.#isIterated) return;
    if (this.#waiting === null) {
      this.#updates.push(update);
      return;
    }
    this.#waiting({ done: false, value: update });
    this.#waiting = this.#reject = null;
  }

  /** Nothing more comes; the loop ends after what it has not taken, with `error` if there is one. */
  end(error: Error | null): void {
    this.#isEnded = true;
    this.#error = error;
    if (error !== null) this.#reject?.(error);
    else this.#waiting?.({ done: true, value: undefined });
    this.#waiting = this.#reject = null;
  }

  /**
   * Returns an iterator over what comes from now on.
   *
   * @param onLeave The loop was left before the end.
   * @throws Error There is a loop already.
   */
  iterate(onLeave: () => void): AsyncIterator<StreamUpdate> {
    if (this.#isIterated) throw new Error("a generation can be iterated once");
    this.#isIterated = true;
    return {
      next: () => this.#next(),
      return: () => {
        this.#updates = [];
        this.#isReleased = true;
        if (!this.#isEnded) onLeave();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  #next(): Promise<IteratorResult<StreamUpdate>> {
    const update = this.#updates.shift();
    if (update !== undefined) return Promise.resolve({ done: false, value: update });
    if (this.#isEnded) {
      const error = this.#error;
      this.#error = null;
      return error === null ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      this.#waiting = resolve;
      this.#reject = reject;
      this.#onWanted();
    });
  }
}
