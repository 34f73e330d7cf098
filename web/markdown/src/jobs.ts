/** Small works that are done when a frame has time for them: redraws, colours, formulas. */
export class Jobs {
  readonly #queue = new Set<() => void>();
  readonly #wake: () => void;

  constructor(wake: () => void) {
    this.#wake = wake;
  }

  get isEmpty(): boolean {
    return this.#queue.size === 0;
  }

  /** Do it once, however often it is asked for before it is done. */
  add(job: () => void): void {
    this.#queue.add(job);
    this.#wake();
  }

  runOne(): void {
    for (const job of this.#queue) {
      this.#queue.delete(job);
      job();
      return;
    }
  }

  clear(): void {
    this.#queue.clear();
  }
}
