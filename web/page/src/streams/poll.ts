/**
 * Asking again and again, while somebody looks.
 *
 * Three rules: never two at once; nothing while the tab is hidden; at once when it is shown again.
 */

/** Where time and the tab's visibility come from. */
export interface Surroundings {
  /** Calls back once after `ms`; returns what takes that back. */
  after(ms: number, call: () => void): () => void;
  isHidden(): boolean;
  /** Calls back when the tab is hidden or shown, and when the device is online again; returns what ends that. */
  onChange(call: () => void): () => void;
}

export class Poll {
  readonly #task: (signal: AbortSignal) => Promise<number>;
  readonly #surroundings: Surroundings;
  #state: "stopped" | "waiting" | "hidden" | "asking" = "stopped";
  #isWantedAgain = false;
  #unschedule: () => void = () => {};
  #unwatch: () => void = () => {};
  #abort = new AbortController();

  /**
   * @param task Asks once; resolves to the milliseconds until it is to be called next. Must not reject.
   * @param surroundings Time and visibility.
   */
  constructor(task: (signal: AbortSignal) => Promise<number>, surroundings: Surroundings) {
    this.#task = task;
    this.#surroundings = surroundings;
  }

  /** Asks now, and from now on. */
  start(): void {
    if (this.#state !== "stopped") {
      return;
    }
    this.#abort = new AbortController();
    this.#unwatch = this.#surroundings.onChange(() => this.#look());
    this.#enter(0);
  }

  /** Asks as soon as possible: now, or when what is under way is over. */
  now(): void {
    if (this.#state === "asking") {
      this.#isWantedAgain = true;
    } else if (this.#state === "waiting") {
      this.#unschedule();
      void this.#ask();
    }
  }

  /** Asks no more; what is under way is aborted and its answer dropped. */
  stop(): void {
    this.#state = "stopped";
    this.#isWantedAgain = false;
    this.#unschedule();
    this.#unwatch();
    this.#abort.abort();
  }

  #look(): void {
    if (this.#surroundings.isHidden()) {
      if (this.#state === "waiting") {
        this.#unschedule();
        this.#state = "hidden";
      }
    } else if (this.#state === "hidden" || this.#state === "waiting") {
      this.#unschedule();
      void this.#ask();
    }
  }

  #enter(ms: number): void {
    if (this.#surroundings.isHidden()) {
      this.#state = "hidden";
    } else if (ms <= 0) {
      void this.#ask();
    } else {
      this.#state = "waiting";
      this.#unschedule = this.#surroundings.after(ms, () => void this.#ask());
    }
  }

  async #ask(): Promise<void> {
    this.#state = "asking";
    this.#isWantedAgain = false;
    const { signal } = this.#abort;
    const ms = await this.#task(signal);
    if (!signal.aborted) {
      this.#enter(this.#isWantedAgain ? 0 : ms);
    }
  }
}

/** Returns the surroundings of a page. */
export function pageSurroundings(page: Window & typeof globalThis = window): Surroundings {
  return {
    after(ms, call) {
      const timer = page.setTimeout(call, ms);
      return () => page.clearTimeout(timer);
    },
    isHidden: () => page.document.hidden,
    onChange(call) {
      page.document.addEventListener("visibilitychange", call);
      page.addEventListener("online", call);
      return () => {
        page.document.removeEventListener("visibilitychange", call);
        page.removeEventListener("online", call);
      };
    },
  };
}
