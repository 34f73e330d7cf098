/** The list of streams: what is loaded, and how it is kept true. */

import { type ReadonlySignal, signal } from "@preact/signals";
import { BUSY_MS, IDLE_MS, retryMs } from "./pace.ts";
import { type Loaded, MAX_ROWS, refreshed, updated, withOlder } from "./pages.ts";
import { Poll, type Surroundings } from "./poll.ts";
import { type Problem, problemOf, type StreamsSource } from "./source.ts";
import { isRunning, type Stream, type StreamState } from "./stream.ts";

/** Rows that come at once. */
export const PAGE_ROWS = 20;

/** Most rows the relay gives at once. */
const LARGEST_PAGE = 100;

/** Most rows beyond the newest hundred that are asked for one by one at each turn. */
const ASKED_ALONE = 4;

export interface ListState {
  readonly loaded: Loaded;
  readonly filter: StreamState | null;
  /** The first answer, or the first with this filter, has not come. */
  readonly isFirst: boolean;
  readonly isLoadingOlder: boolean;
  /** Why the last question got no answer; null: it got one. */
  readonly problem: Problem | null;
  /** When the relay was last heard, Unix seconds; 0: never. */
  readonly heardAt: number;
}

const NOTHING: Loaded = { streams: [], hasMore: false };

export class ListModel {
  readonly #state = signal<ListState>({
    loaded: NOTHING,
    filter: null,
    isFirst: true,
    isLoadingOlder: false,
    problem: null,
    heardAt: 0,
  });
  readonly #source: StreamsSource;
  readonly #nowS: () => number;
  readonly #poll: Poll;
  #failures = 0;
  #turn = 0;

  constructor(source: StreamsSource, surroundings: Surroundings, nowS: () => number) {
    this.#source = source;
    this.#nowS = nowS;
    this.#poll = new Poll((abort) => this.#refresh(abort), surroundings);
  }

  get state(): ReadonlySignal<ListState> {
    return this.#state;
  }

  /** Asks from now on. */
  start(): void {
    this.#poll.start();
  }

  /** Asks no more; what is loaded stays. */
  stop(): void {
    this.#poll.stop();
  }

  /** Asks as soon as possible. */
  retry(): void {
    this.#poll.now();
  }

  /** Shows streams of one state only; null: all. */
  show(filter: StreamState | null): void {
    if (filter === this.#state.value.filter) {
      return;
    }
    this.#poll.stop();
    this.#set({ filter, loaded: NOTHING, isFirst: true, isLoadingOlder: false });
    this.#poll.start();
  }

  /** Takes a stream out at once, because it was erased. */
  forget(id: string): void {
    this.#set({ loaded: updated(this.#state.value.loaded, new Map([[id, null]])) });
  }

  /** Loads the page behind the last row. */
  async older(): Promise<void> {
    const { loaded, filter, isLoadingOlder } = this.#state.value;
    const last = loaded.streams.at(-1);
    if (last === undefined || isLoadingOlder || !canLoadOlder(this.#state.value)) {
      return;
    }
    this.#set({ isLoadingOlder: true });
    try {
      const question = { state: filter, after: last.id, limit: PAGE_ROWS };
      const page = await this.#source.list(question, new AbortController().signal);
      if (filter === this.#state.value.filter) {
        this.#set({ loaded: withOlder(this.#state.value.loaded, page), isLoadingOlder: false, problem: null });
      }
    } catch (error) {
      if (filter === this.#state.value.filter) {
        this.#set({ isLoadingOlder: false, problem: problemOf(error) });
      }
    }
  }

  async #refresh(abort: AbortSignal): Promise<number> {
    try {
      const { filter, loaded } = this.#state.value;
      const limit = Math.min(LARGEST_PAGE, Math.max(PAGE_ROWS, loaded.streams.length));
      const page = await this.#source.list({ state: filter, after: null, limit }, abort);
      const news = await this.#alone(page.streams.length, abort);
      if (abort.aborted) {
        return IDLE_MS;
      }
      const now = updated(refreshed(this.#state.value.loaded, page), news);
      this.#failures = 0;
      this.#set({ loaded: now, isFirst: false, problem: null, heardAt: this.#nowS() });
      return now.streams.some(isRunning) ? BUSY_MS : IDLE_MS;
    } catch (error) {
      if (!abort.aborted) {
        this.#failures += 1;
        this.#set({ problem: problemOf(error) });
      }
      return retryMs(this.#failures);
    }
  }

  /** Asks for some of the rows that run and lie behind the newest page, others at each turn. */
  async #alone(covered: number, abort: AbortSignal): Promise<Map<string, Stream | null>> {
    const { loaded, filter } = this.#state.value;
    const running = loaded.streams.slice(covered).filter(isRunning);
    const from = running.length === 0 ? 0 : this.#turn % running.length;
    this.#turn += ASKED_ALONE;
    const asked = [...running.slice(from), ...running.slice(0, from)].slice(0, ASKED_ALONE);
    const news = new Map<string, Stream | null>();
    for (const { id } of asked) {
      const found = await this.#source.stream(id, abort).catch((error: unknown) => {
        if (problemOf(error).kind === "not_found") {
          return null;
        }
        throw error;
      });
      news.set(id, found !== null && filter !== null && found.state !== filter ? null : found);
    }
    return news;
  }

  #set(change: Partial<ListState>): void {
    this.#state.value = { ...this.#state.value, ...change };
  }
}

/** Whether a page behind the last row can be loaded. */
export function canLoadOlder(state: ListState): boolean {
  return state.loaded.hasMore && state.loaded.streams.length < MAX_ROWS;
}
