/** Follows one stream, where the network is: does what its session says, over the lines that it has. */

import { bearsContent } from "./chunk.ts";
import type { Clock } from "./clock.ts";
import type { Item } from "./dialects.ts";
import { brokenBy } from "./http.ts";
import type { Call, Line, Sink } from "./line.ts";
import type { TransportName } from "./metrics.ts";
import type { Network } from "./network.ts";
import { Outbox } from "./outbox.ts";
import type { Entry, Outcome, Session } from "./session.ts";
import type { StreamStatus } from "./status.ts";

/** How long the end may take after a stop. */
const STOP_MS = 2000;
/**
 * How long a stop over HTTP may go unanswered until the stream's own connection is given up for it. Browsers allow six HTTP/1.1
 * connections to a host: with six streams running, the request to stop one of them would wait for ever.
 */
const STOP_QUEUE_MS = 200;
/** Longest wait between two tries to learn the end of a stopped stream. */
const STOP_WAIT_MS = 50;

export interface NamedLine {
  readonly name: TransportName;
  readonly line: Line;
}

export interface FollowerOptions {
  readonly session: Session;
  /** In order of preference; the last is always to be had. */
  readonly lines: readonly NamedLine[];
  readonly maxBufferSize: number;
  readonly isStart: boolean;
  readonly clock: Clock;
  readonly network: Network;
  readonly tell: {
    head(streamId: string | null, transport: TransportName): void;
    status(status: StreamStatus): void;
    batch(entries: readonly Entry[]): void;
    /** Once, when everything else was told. */
    end(outcome: Outcome): void;
  };
}

export class Follower implements Sink {
  readonly #options: FollowerOptions;
  readonly #session: Session;
  readonly #outbox: Outbox;
  #lines: readonly NamedLine[];
  #connection = new AbortController();
  #wake: (() => void) | null = null;
  #hasContent = false;
  #state: StreamStatus["state"] = "waiting";
  #isStopping = false;
  #isStopTold = false;
  #isLeft = false;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#session = options.session;
    this.#lines = options.lines;
    const { maxBufferSize: maxEntries, clock } = options;
    this.#outbox = new Outbox({ maxEntries, clock, post: (entries) => this.#post(entries) });
  }

  /** Follows the stream to its end, or until it is left. Never rejects. */
  async run(): Promise<void> {
    while (!this.#session.isOver) await this.#advance();
    this.#connection.abort();
    if (!this.#isLeft) this.#outbox.end(() => this.#options.tell.end(this.#session.outcome()));
  }

  /** The page takes one more batch. */
  grant(paceMs: number): void {
    this.#outbox.grant(paceMs);
  }

  /** The stream is not wanted any more; its end is told all the same, within two seconds. */
  stop(): void {
    if (this.#isStopping || this.#session.isOver) return;
    this.#isStopping = true;
    this.#session.requestStop();
    // Nobody can be told: the server is another kind, or has not said under which name it runs.
    if (this.#session.streamId === null) this.#session.leave();
    this.#current.line.stop?.();
    this.#options.clock.after(STOP_QUEUE_MS, () => this.#freeConnection());
    this.#options.clock.after(STOP_MS, () => this.#settle());
    if (this.#session.isOver) this.#dropConnection(null);
    this.#wake?.();
  }

  /** The relay knows that the stream is not wanted. */
  confirmStop(): void {
    this.#isStopTold = true;
  }

  /** Follow no further, and tell nothing any more. */
  leave(): void {
    this.#isLeft = true;
    this.#session.leave();
    this.#outbox.clear();
    this.#dropConnection(null);
    this.#wake?.();
  }

  // --- what the line brings

  get isOver(): boolean {
    return this.#session.isOver;
  }

  get free(): number {
    return this.#outbox.free;
  }

  head(streamId: string | null): void {
    this.#session.receiveHead(streamId);
    this.#options.tell.head(this.#session.streamId, this.#current.name);
    if (this.#hasContent || !this.#options.isStart) this.#show({ state: "streaming" });
    else if (this.#state === "reconnecting") this.#show({ state: "waiting" });
  }

  life(): void {
    this.#session.receiveLife();
  }

  take(items: readonly Item[], bytes: number): void {
    const entries: Entry[] = [];
    for (const item of items) {
      const entry = this.#session.receive(item);
      if (entry !== null) entries.push(entry);
    }
    if (!this.#hasContent && entries.some(({ chunk }) => bearsContent(chunk))) {
      this.#hasContent = true;
      this.#show({ state: "streaming" });
    }
    this.#outbox.add(entries, bytes);
    // Duplicates need no room.
    const duplicates = items.filter(({ kind }) => kind === "entry").length - entries.length;
    if (duplicates > 0) this.#current.line.drained?.(duplicates);
  }

  room(): Promise<void> {
    return this.#outbox.room();
  }

  // --- inside

  get #current(): NamedLine {
    const [line] = this.#lines;
    if (line === undefined) throw new Error("a follower needs a line");
    return line;
  }

  async #advance(): Promise<void> {
    const { step } = this.#session;
    if (step.do === "wait") {
      const { ms: waitMs, attempt, reason } = step;
      // Whoever has stopped a stream is not to see it come back.
      if (!this.#isStopping) this.#show({ state: "reconnecting", attempt, waitMs, reason });
      await this.#pause(waitMs);
      this.#session.wake();
    } else if (step.do !== "over") {
      await this.#call(step);
    }
  }

  async #call(call: Call): Promise<void> {
    this.#connection = new AbortController();
    const breach = await this.#current.line.follow(call, this, this.#connection.signal).catch(brokenBy);
    if (breach === "unavailable") this.#lines = this.#lines.slice(1);
    else if (breach !== null) this.#session.receiveBreach(breach);
    else if (!this.#session.isOver) this.#session.receiveBreach(brokenBy("the connection ended"));
  }

  /** Waits, but no longer than until the network is back or somebody wants the stream to end. */
  #pause(ms: number): Promise<void> {
    const atMostMs = this.#isStopping ? STOP_WAIT_MS : ms;
    return new Promise((resolve) => {
      const done = (): void => {
        callOff();
        ignore();
        this.#wake = null;
        resolve();
      };
      const callOff = this.#options.clock.after(Math.min(ms, atMostMs), done);
      const ignore = this.#options.network.onOnline(done);
      this.#wake = done;
    });
  }

  #freeConnection(): void {
    const isOverHttp = this.#current.name !== "websocket";
    if (!this.#session.isOver && !this.#isStopTold && isOverHttp) {
      this.#dropConnection(new Error("the connection was given up for the request to stop"));
    }
  }

  /** Ends the line's call, also when that waits for room. */
  #dropConnection(reason: Error | null): void {
    this.#connection.abort(reason ?? undefined);
    this.#outbox.wake();
  }

  #settle(): void {
    if (this.#session.isOver) return;
    this.#session.leave();
    this.#dropConnection(null);
    this.#wake?.();
  }

  #show(status: StreamStatus): void {
    if (status.state === this.#state && status.state !== "reconnecting") return;
    this.#state = status.state;
    this.#options.tell.status(status);
  }

  #post(entries: readonly Entry[]): void {
    this.#options.tell.batch(entries);
    this.#current.line.drained?.(entries.length);
  }
}
