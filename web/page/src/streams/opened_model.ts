/** One stream that is looked at: its facts and its log, kept true while it runs, and what can be done to it. */

import { type ReadonlySignal, signal } from "@preact/signals";
import { BUSY_MS, ENDED_MS, retryMs } from "./pace.ts";
import { Poll, type Surroundings } from "./poll.ts";
import { type Problem, problemOf, type StreamsSource } from "./source.ts";
import { isRunning, type Stream } from "./stream.ts";
import { EMPTY_TIMELINE, extended, lastOffset, type Timeline, type TimelinePage } from "./timeline.ts";

/** Most pages of the log read in one turn; the rest comes in the next. */
const PAGES_A_TURN = 20;

export interface OpenedState {
  /** Null: not heard of yet. */
  readonly stream: Stream | null;
  /** Null: this relay tells of no timeline. */
  readonly timeline: Timeline | null;
  /** All that the relay has of the log is loaded. */
  readonly isTimelineWhole: boolean;
  /** Why the last question got no answer; null: it got one. */
  readonly problem: Problem | null;
  /** When what is known was true, Unix seconds: what has been since then is not known. */
  readonly heardAt: number;
  /** What is being done on the reader's wish. */
  readonly doing: "stopping" | "erasing" | null;
  /** Why that could not be done. */
  readonly refusal: Problem | null;
}

export class OpenedModel {
  readonly #state = signal<OpenedState>({
    stream: null,
    timeline: EMPTY_TIMELINE,
    isTimelineWhole: false,
    problem: null,
    heardAt: 0,
    doing: null,
    refusal: null,
  });
  readonly #source: StreamsSource;
  readonly #id: string;
  readonly #nowS: () => number;
  readonly #poll: Poll;
  #failures = 0;

  constructor(id: string, source: StreamsSource, surroundings: Surroundings, nowS: () => number) {
    this.#nowS = nowS;
    this.#id = id;
    this.#source = source;
    this.#poll = new Poll((abort) => this.#refresh(abort), surroundings);
  }

  get state(): ReadonlySignal<OpenedState> {
    return this.#state;
  }

  start(): void {
    this.#poll.start();
  }

  stop(): void {
    this.#poll.stop();
  }

  /** Asks as soon as possible. */
  retry(): void {
    this.#poll.now();
  }

  /** Stops the stream's engine. */
  async cancel(): Promise<void> {
    await this.#do("stopping", async () => this.#set({ stream: await this.#source.cancel(this.#id) }));
    this.#poll.now();
  }

  /** Erases log and record; resolves to whether they are gone. */
  async erase(): Promise<boolean> {
    return this.#do("erasing", async () => {
      await this.#source.erase(this.#id);
      this.#poll.stop();
    });
  }

  async #do(doing: "stopping" | "erasing", act: () => Promise<void>): Promise<boolean> {
    this.#set({ doing, refusal: null });
    try {
      await act();
      this.#set({ doing: null });
      return true;
    } catch (error) {
      this.#set({ doing: null, refusal: problemOf(error) });
      return false;
    }
  }

  async #refresh(abort: AbortSignal): Promise<number> {
    try {
      const heardAt = this.#nowS();
      const stream = await this.#source.stream(this.#id, abort);
      if (abort.aborted) {
        return ENDED_MS;
      }
      this.#failures = 0;
      const isWhole = await this.#hear({ stream, problem: null, heardAt }, abort);
      return isRunning(stream) || !isWhole ? BUSY_MS : ENDED_MS;
    } catch (error) {
      if (!abort.aborted) {
        this.#failures += 1;
        this.#set({ problem: problemOf(error) });
      }
      return retryMs(this.#failures);
    }
  }

  /**
   * Reads what has been written meanwhile, and shows both together: a time without its flushes would look like a gap. The facts
   * were read first, so the log of a stream that has ended is read to its end.
   */
  async #hear(facts: Pick<OpenedState, "stream" | "problem" | "heardAt">, abort: AbortSignal): Promise<boolean> {
    if (this.#state.value.stream === null) {
      this.#set(facts);
    }
    try {
      return await this.#readLog(abort);
    } finally {
      if (!abort.aborted) {
        this.#set(facts);
      }
    }
  }

  async #readLog(abort: AbortSignal): Promise<boolean> {
    for (let turn = 0; turn < PAGES_A_TURN; turn += 1) {
      const page = await this.#page(lastOffset(this.#state.value.timeline ?? EMPTY_TIMELINE), abort);
      if (abort.aborted) {
        return false;
      }
      const timeline = this.#state.value.timeline ?? EMPTY_TIMELINE;
      const longer = page === null ? null : extended(timeline, page);
      // A page that adds nothing would be asked for again and again.
      const isWhole = page === null || !page.hasMore || longer?.isCut === true || longer?.flushes === timeline.flushes;
      this.#set({ timeline: longer, isTimelineWhole: isWhole });
      if (isWhole) {
        return true;
      }
    }
    return false;
  }

  /** Reads a page of the log; a log that was cut back, as after a crash of the relay, from its start. */
  async #page(after: number, abort: AbortSignal): Promise<TimelinePage | null> {
    try {
      return await this.#source.timeline(this.#id, after, abort);
    } catch (error) {
      if (after < 0 || problemOf(error).kind !== "refused") {
        throw error;
      }
      this.#set({ timeline: EMPTY_TIMELINE, isTimelineWhole: false });
      return this.#source.timeline(this.#id, -1, abort);
    }
  }

  #set(change: Partial<OpenedState>): void {
    this.#state.value = { ...this.#state.value, ...change };
  }
}
