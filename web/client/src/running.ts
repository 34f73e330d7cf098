/** One stream on the page's side: takes batches from the host, gives updates to the caller. */

import { type Callbacks, guarded, rethrowLater } from "./callbacks.ts";
import type { Clock } from "./clock.ts";
import type { StreamConfig } from "./config.ts";
import { STOPPED } from "./ending.ts";
import { StreamError } from "./errors.ts";
import type { Fault } from "./fault.ts";
import type { Generation, StreamResult, StreamUpdate } from "./generation.ts";
import type { ToHost, ToPage } from "./messages.ts";
import { metricsOf, type StreamMetrics, type TransportName } from "./metrics.ts";
import { Pacer } from "./pacer.ts";
import { painted } from "./paint.ts";
import { Pieces } from "./pieces.ts";
import type { Entry, Outcome } from "./session.ts";
import { DETACHED, isFinal, type StreamStatus, statusOf } from "./status.ts";
import type { Times } from "./stopwatch.ts";
import { type Addition, Transcript } from "./transcript.ts";
import { UpdateQueue } from "./update-queue.ts";
import type { View } from "./view.ts";

export interface RunningOptions {
  readonly id: number;
  readonly streamId: string | null;
  readonly after: number;
  /** What the caller has of the text already. */
  readonly text: string;
  readonly transport: TransportName;
  readonly onUnmount: "stop" | "keep";
  readonly callbacks: Callbacks;
  readonly config: StreamConfig;
  readonly clock: Clock;
  readonly view: View;
  readonly post: (message: ToHost) => void;
  /** Tells the relay to stop a stream; resolves with whether it knows. */
  readonly tellStop: (streamId: string, isOver: () => boolean) => Promise<boolean>;
  readonly book: {
    /** The stream runs, and `offset` has been given to the caller. */
    moved(streamId: string, offset: number): void;
    /** The stream has ended, or is none that could be resumed. */
    ended(streamId: string): void;
    /** The end was told by the relay. */
    measured(streamId: string, metrics: StreamMetrics): void;
    /** Nothing more comes for this generation. */
    left(): void;
  };
}

/** Storage is slow: a reload may find an offset that is this old, in milliseconds. */
const SAVE_MS = 250;

const NO_TIMES: Times = { firstByteAt: null, firstContentAt: null, lastContentAt: null, endedAt: null, contents: 0 };

export class RunningGeneration implements Generation {
  readonly result: Promise<StreamResult>;
  readonly #options: RunningOptions;
  readonly #pacer: Pacer;
  readonly #transcript = new Transcript();
  readonly #updates = new UpdateQueue(() => this.#grant());
  readonly #startedAt: number;
  #resolve: (result: StreamResult) => void = () => {};
  #streamId: string | null;
  #transport: TransportName;
  #status: StreamStatus = { state: "waiting" };
  readonly #text: Pieces;
  readonly #reasoning = new Pieces();
  #lastOffset: number;
  #arrived: Entry[] = [];
  #hasCredit = false;
  #isPaused = false;
  #outcome: Outcome | null = null;
  #isOver = false;
  #cancelledAt: number | null = null;
  #stopping: Promise<void> | null = null;
  #visibleAt: Promise<number | null> | null = null;
  #savedAt = 0;

  constructor(options: RunningOptions) {
    this.#options = options;
    this.#streamId = options.streamId;
    this.#transport = options.transport;
    this.#text = new Pieces(options.text);
    this.#lastOffset = options.after;
    this.#startedAt = options.clock.now();
    this.#pacer = new Pacer(options.view, options.clock, options.config.chunkThrottle, () => this.#deliver());
    this.result = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  // --- what the caller sees

  get streamId(): string | null {
    return this.#streamId;
  }

  get status(): StreamStatus {
    return this.#status;
  }

  get text(): string {
    return this.#text.toString();
  }

  get reasoning(): string {
    return this.#reasoning.toString();
  }

  get lastOffset(): number {
    return this.#lastOffset;
  }

  cancel(): Promise<void> {
    if (this.#stopping === null && !this.#isOver) {
      this.#cancelledAt = this.#options.clock.now();
      this.#stopping = this.#stop();
      // What still comes is to be taken, or the end behind it would wait.
      this.#updates.release();
      this.resume();
    }
    return this.#stopping ?? Promise.resolve();
  }

  detach(): void {
    if (this.#isOver) return;
    this.#options.post({ type: "detach", id: this.#options.id });
    this.#save();
    this.#end(DETACHED, this.#outcome?.times ?? NO_TIMES);
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#arrived.length > 0) this.#pacer.request();
    else this.#grant();
  }

  [Symbol.asyncIterator](): AsyncIterator<StreamUpdate> {
    return this.#updates.iterate(() => this.leave());
  }

  // --- what the client does

  /** Begins to take batches. */
  begin(): void {
    this.#save();
    this.#grant();
  }

  /** The caller goes away: stops the stream, or leaves it to its linger, as `onUnmount` says. */
  leave(): void {
    if (this.#options.onUnmount === "stop") void this.cancel();
    else this.detach();
  }

  /** As `leave`, when no host is there any more to tell the end. */
  close(): void {
    this.leave();
    if (!this.#isOver) this.fail(STOPPED, null);
  }

  /** Ends it here, without a host. */
  fail(ending: Outcome["ending"], fault: Fault | null): void {
    const isStopped = fault === null;
    const times = { ...NO_TIMES, endedAt: this.#options.clock.now() };
    const outcome = { ending, fault, isStopped, times, gaveUp: false, phase: "asking", reconnects: 0 } as const;
    this.#finish({ ...outcome, streamId: this.#streamId, lastOffset: this.#lastOffset });
  }

  receive(message: ToPage & { id: number }): void {
    if (this.#isOver) return;
    switch (message.type) {
      case "head":
        this.#receiveHead(message.streamId, message.transport);
        break;
      case "status":
        this.#show(message.status);
        break;
      case "batch":
        this.#hasCredit = false;
        this.#arrived = this.#arrived.concat(message.entries);
        if (!this.#isPaused) this.#pacer.request();
        break;
      case "end":
        this.#outcome = message.outcome;
        if (this.#arrived.length === 0) this.#finish(message.outcome);
        break;
    }
  }

  // --- inside

  #receiveHead(streamId: string | null, transport: TransportName): void {
    if (this.#streamId !== null && streamId !== this.#streamId) this.#options.book.ended(this.#streamId);
    this.#streamId = streamId;
    this.#transport = transport;
    this.#save();
  }

  #save(): void {
    this.#savedAt = this.#options.clock.now();
    if (this.#streamId !== null) this.#options.book.moved(this.#streamId, this.#lastOffset);
  }

  /** Allows one more batch, if the caller takes any. */
  #grant(): void {
    if (this.#hasCredit || this.#isPaused || this.#isOver || this.#outcome !== null) return;
    if (this.#arrived.length > 0 || !this.#updates.wantsMore) return;
    this.#hasCredit = true;
    this.#options.post({ type: "credit", id: this.#options.id, paceMs: this.#options.view.paceMs() });
  }

  #deliver(): void {
    if (this.#isOver || this.#isPaused) return;
    const entries = this.#arrived;
    this.#arrived = [];
    const first = entries[0];
    if (first !== undefined) {
      this.#lastOffset = entries.at(-1)?.offset ?? this.#lastOffset;
      this.#give(this.#transcript.add(entries), first.offset);
      if (this.#options.clock.now() - this.#savedAt >= SAVE_MS) this.#save();
    }
    if (this.#outcome !== null) this.#finish(this.#outcome);
    else this.#grant();
  }

  #give({ text, reasoning, chunks }: Addition, firstOffset: number): void {
    const { incrementalFilter } = this.#options.config;
    const shown = incrementalFilter === false ? text : this.#filtered(text, false);
    this.#text.push(shown);
    this.#reasoning.push(reasoning);
    const update = { text: shown, reasoning, firstOffset, lastOffset: this.#lastOffset };
    this.#tell({ ...update, chunks: incrementalFilter === false ? chunks : [] });
  }

  #tell(update: StreamUpdate): void {
    this.#updates.push(update);
    guarded(() => this.#options.callbacks.onChunk?.(update, this));
    const isFirst = this.#visibleAt === null && (update.text !== "" || update.reasoning !== "");
    if (isFirst) this.#visibleAt = painted(this.#options.view, this.#options.clock);
  }

  #filtered(delta: string, isEnd: boolean): string {
    const { incrementalFilter } = this.#options.config;
    if (incrementalFilter === false) return delta;
    try {
      return incrementalFilter(delta, isEnd, this);
    } catch (error) {
      // What a broken filter would have said is not known: nothing is shown rather than everything.
      rethrowLater(error);
      return "";
    }
  }

  #finish(outcome: Outcome): void {
    if (this.#isOver) return;
    this.#outcome = outcome;
    const rest = this.#filtered("", true);
    if (rest !== "") {
      this.#text.push(rest);
      const offset = this.#lastOffset;
      this.#tell({ text: rest, reasoning: "", firstOffset: offset, lastOffset: offset, chunks: [] });
    }
    if (this.#streamId !== null && !outcome.gaveUp) this.#options.book.ended(this.#streamId);
    this.#end(statusOf(outcome), outcome.times, outcome);
  }

  /** Ends it; tells the caller, unless it detached. */
  #end(status: StreamStatus, times: Times, outcome: Outcome | null = null): void {
    this.#isOver = true;
    this.#pacer.stop();
    this.#arrived = [];
    if (outcome !== null) this.#show(status);
    else this.#status = status;
    this.#options.book.left();
    // So that the figures are whole: at most two frames from the first text.
    void Promise.resolve(this.#visibleAt).then((visibleAt) => this.#conclude(times, visibleAt, outcome));
  }

  #conclude(times: Times, visibleAt: number | null, outcome: Outcome | null): void {
    const result = this.#resultOf(times, visibleAt, outcome);
    const fault = outcome?.fault ?? null;
    const error = fault === null ? null : new StreamError(fault, result);
    const { callbacks } = this.#options;
    this.#resolve(result);
    this.#updates.end(error);
    if (outcome === null) return;
    if (error === null) guarded(() => callbacks.onComplete?.(result));
    else guarded(() => callbacks.onError?.(error, result));
    guarded(() => callbacks.onMetrics?.(result.metrics));
    if (this.#streamId !== null && outcome.ending !== null) this.#options.book.measured(this.#streamId, result.metrics);
  }

  #resultOf(times: Times, visibleAt: number | null, outcome: Outcome | null): StreamResult {
    const finishReason = outcome?.ending?.finishReason ?? this.#transcript.finishReason;
    const usage = outcome?.ending?.usage ?? this.#transcript.usage;
    const measured = {
      startedAt: this.#startedAt,
      times,
      visibleAt,
      cancelledAt: this.#cancelledAt,
      reconnects: outcome?.reconnects ?? 0,
      finishReason,
      usage,
      state: this.#status.state,
      transport: this.#transport,
    };
    return {
      text: this.text,
      reasoning: this.reasoning,
      toolCalls: this.#transcript.toolCalls,
      status: this.#status,
      finishReason,
      usage,
      streamId: this.#streamId,
      lastOffset: this.#lastOffset,
      metrics: metricsOf(measured, this.#options.config.metrics),
    };
  }

  async #stop(): Promise<void> {
    const { id, post, tellStop } = this.#options;
    post({ type: "stop", id });
    if (this.#streamId === null) return;
    if (await tellStop(this.#streamId, () => this.#isOver || this.#streamId === null)) post({ type: "told", id });
  }

  #show(status: StreamStatus): void {
    if (isFinal(this.#status)) return;
    this.#status = status;
    guarded(() => this.#options.callbacks.onState?.(status, this));
  }
}
