/** Collects tasks of more than 50 ms (W3C Long Tasks API), from now on. */
export class LongTasks {
  readonly #observer: PerformanceObserver;
  readonly #durationsMs: number[] = [];

  constructor() {
    this.#observer = new PerformanceObserver((list) => this.#take(list.getEntries()));
    this.#observer.observe({ type: "longtask" });
  }

  /** Collects no longer; returns how long each task took, in milliseconds. */
  stop(): number[] {
    this.#take(this.#observer.takeRecords());
    this.#observer.disconnect();
    return this.#durationsMs;
  }

  #take(entries: PerformanceEntryList): void {
    for (const entry of entries) this.#durationsMs.push(entry.duration);
  }
}
