/** When things happened to one stream, by the clock of whoever reads the connection. */

import type { Clock } from "./clock.ts";

/** All in milliseconds since the Unix epoch; null for what has not happened. */
export interface Times {
  readonly firstByteAt: number | null;
  readonly firstContentAt: number | null;
  readonly lastContentAt: number | null;
  readonly endedAt: number | null;
  /** Chunks with content. */
  readonly contents: number;
}

export class Stopwatch {
  readonly #clock: Clock;
  #firstByteAt: number | null = null;
  #firstContentAt: number | null = null;
  #lastContentAt: number | null = null;
  #endedAt: number | null = null;
  #contents = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Something of an answer came. */
  byte(): void {
    this.#firstByteAt ??= this.#clock.now();
  }

  /** A chunk with content came. */
  content(): void {
    this.#lastContentAt = this.#clock.now();
    this.#firstContentAt ??= this.#lastContentAt;
    this.#contents += 1;
  }

  /** Nothing more comes. */
  end(): void {
    this.#endedAt ??= this.#clock.now();
  }

  times(): Times {
    return {
      firstByteAt: this.#firstByteAt,
      firstContentAt: this.#firstContentAt,
      lastContentAt: this.#lastContentAt,
      endedAt: this.#endedAt,
      contents: this.#contents,
    };
  }
}
