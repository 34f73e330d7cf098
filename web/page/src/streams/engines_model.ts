/** How the engines do, kept true while somebody looks who may know. */

import { type ReadonlySignal, signal } from "@preact/signals";
import type { EngineHealth } from "./engine.ts";
import { IDLE_MS, retryMs } from "./pace.ts";
import { Poll, type Surroundings } from "./poll.ts";
import type { StreamsSource } from "./source.ts";

/** A relay that tells of no engines is asked again in so long, in milliseconds. */
const UNTOLD_MS = 60_000;

export class EnginesModel {
  readonly #engines = signal<readonly EngineHealth[]>([]);
  readonly #source: StreamsSource;
  readonly #poll: Poll;
  #failures = 0;

  constructor(source: StreamsSource, surroundings: Surroundings) {
    this.#source = source;
    this.#poll = new Poll((abort) => this.#refresh(abort), surroundings);
  }

  /** None while nothing is known of any; what was last heard where the relay does not answer. */
  get engines(): ReadonlySignal<readonly EngineHealth[]> {
    return this.#engines;
  }

  start(): void {
    this.#poll.start();
  }

  stop(): void {
    this.#poll.stop();
  }

  /** The list beside it says when the relay does not answer, so that is not said here. */
  async #refresh(abort: AbortSignal): Promise<number> {
    try {
      const engines = await this.#source.engines(abort);
      if (!abort.aborted) {
        this.#engines.value = engines ?? [];
        this.#failures = 0;
      }
      return engines === null ? UNTOLD_MS : IDLE_MS;
    } catch {
      this.#failures += 1;
      return retryMs(this.#failures);
    }
  }
}
