import { type ReadonlySignal, type Signal, signal } from "@preact/signals";

/** A few words about what was just done, with a way to take it back. */
export interface Notice {
  readonly text: string;
  /** Takes it back; absent where there is nothing to take back. */
  readonly undo?: () => void;
}

const SHOWN_MS = 10_000;

/** The one notice that is shown; a new one takes its place. */
export class Notices {
  readonly #after: (ms: number, call: () => void) => () => void;
  readonly #current: Signal<Notice | null> = signal(null);
  #cancel = (): void => {};

  /** `after` calls in that many milliseconds and returns how to prevent it. */
  constructor(after: (ms: number, call: () => void) => () => void) {
    this.#after = after;
  }

  get current(): ReadonlySignal<Notice | null> {
    return this.#current;
  }

  show(notice: Notice): void {
    this.#cancel();
    this.#current.value = notice;
    this.#cancel = this.#after(SHOWN_MS, () => this.dismiss());
  }

  dismiss(): void {
    this.#cancel();
    this.#current.value = null;
  }
}
