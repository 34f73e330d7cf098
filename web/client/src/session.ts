/**
 * One stream as a client follows it, without I/O: told what happened, it says what to do next.
 *
 * A driver does what `step` says, tells what came of it, and looks again. Once it is over nothing changes any more.
 */

import { Backoff } from "./backoff.ts";
import { bearsContent, type ChatChunk } from "./chunk.ts";
import type { Clock } from "./clock.ts";
import type { Item } from "./dialects.ts";
import { type Ending, endingWith, STOPPED } from "./ending.ts";
import { type Failure, NEXT, type Phase } from "./failure.ts";
import { type Fault, faultOf, faultOfEnding } from "./fault.ts";
import { Stopwatch, type Times } from "./stopwatch.ts";

/** One entry, as it came. */
export interface Entry {
  readonly offset: number;
  readonly chunk: ChatChunk;
}

/**
 * What to do: send the request (`bare`: without Headrace's own headers, which a foreign server's CORS rules may refuse), ask for
 * what follows an offset, wait, or nothing any more.
 */
export type Step =
  | { readonly do: "start"; readonly bare: boolean }
  | { readonly do: "resume"; readonly after: number }
  | { readonly do: "wait"; readonly ms: number; readonly attempt: number; readonly reason: string }
  | { readonly do: "over" };

/** Why there is no answer, or no more of it. */
export interface Breach {
  readonly failure: Failure;
  readonly fault: Fault;
  /** How the stream ended, when the answer told. */
  readonly ending?: Ending | null;
}

export interface Patience {
  /** Longest silence of a connection, in milliseconds. */
  readonly timeout: number;
  /** How often a request that brought nothing is asked again. */
  readonly retryAttempts: number;
  /** Ceiling of the first wait, in milliseconds. */
  readonly retryDelay: number;
  /** How long a stream is asked for without any progress, in milliseconds. */
  readonly resumeFor: number;
}

export interface SessionOptions {
  /** Whether this client starts the stream; otherwise it follows one that is there. */
  readonly isStart: boolean;
  /** As this client proposes or knows it; null where the server makes it up. */
  readonly streamId: string | null;
  /** Offset behind which to begin; -1 for the start. */
  readonly after: number;
  /** Entries may stand for several, so that offsets jump. */
  readonly isMerged: boolean;
  readonly patience: Patience;
  readonly clock: Clock;
  readonly random: () => number;
  /** Whether the device says that it has a network; time and tries without one do not count. */
  readonly isOnline: () => boolean;
}

/** How it came out. */
export interface Outcome {
  /** As the server told it; null when it is not known. */
  readonly ending: Ending | null;
  /** Null for a whole answer, and for a stop that was wanted here. */
  readonly fault: Fault | null;
  /** The client gave up; the stream may run on. */
  readonly gaveUp: boolean;
  readonly isStopped: boolean;
  /** How much was known of the stream. */
  readonly phase: Phase;
  readonly streamId: string | null;
  readonly lastOffset: number;
  /** Breaks that were overcome. */
  readonly reconnects: number;
  readonly times: Times;
}

/** How much later than asked a timer may fire before the rest counts as sleep of the device. */
const SLACK_MS = 2000;

/** Failures that bring something after all: what became of the request. */
const TELLING: ReadonlySet<Failure> = new Set(["not_found", "no_route", "taken"]);

export class Session {
  readonly #options: SessionOptions;
  readonly #backoff: Backoff;
  readonly #stopwatch: Stopwatch;
  #phase: Phase;
  #step: Step;
  #then: Step;
  #stepSince: number;
  #streamId: string | null;
  #lastOffset: number;
  #starts = 1;
  /** Failures in a row before anything is known of the stream. */
  #fruitless = 0;
  /** Milliseconds without progress, sleep and missing networks left out. */
  #spentMs = 0;
  /** Tries since something came. */
  #attempt = 0;
  /** Something came over the connection that is there, or broke last. */
  #hasLife = false;
  #isBroken = false;
  #reconnects = 0;
  #stopWanted = false;
  #ending: Ending | null = null;
  #fault: Fault | null = null;
  #gaveUp = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.patience.retryDelay, options.random);
    this.#stopwatch = new Stopwatch(options.clock);
    this.#phase = options.isStart ? "asking" : "attaching";
    this.#streamId = options.streamId;
    this.#lastOffset = options.after;
    this.#step = options.isStart ? { do: "start", bare: false } : { do: "resume", after: options.after };
    this.#then = this.#step;
    this.#stepSince = options.clock.now();
  }

  get step(): Step {
    return this.#step;
  }

  get isOver(): boolean {
    return this.#step.do === "over";
  }

  get phase(): Phase {
    return this.#phase;
  }

  get streamId(): string | null {
    return this.#streamId;
  }

  get lastOffset(): number {
    return this.#lastOffset;
  }

  /** The stream may be running on a relay that can be told to stop it. */
  get mayRun(): boolean {
    const isUnknown = this.#phase === "asking" || this.#phase === "asking_again" || this.#phase === "attaching";
    const isOutOfReach = this.#gaveUp || this.#fault?.kind === "not_found" || this.#phase === "plain";
    return this.#streamId !== null && this.#ending === null && !isUnknown && !isOutOfReach;
  }

  outcome(): Outcome {
    return {
      ending: this.#ending,
      fault: this.#fault,
      gaveUp: this.#gaveUp,
      isStopped: this.#stopWanted && this.#ending?.state === "cancelled",
      phase: this.#phase,
      streamId: this.#streamId,
      lastOffset: this.#lastOffset,
      reconnects: this.#reconnects,
      times: this.#stopwatch.times(),
    };
  }

  // --- what happened

  /** The head of a stream has come; `streamId` is null when the server is no Headrace. */
  receiveHead(streamId: string | null): void {
    if (this.isOver) return;
    const isStart = this.#step.do === "start";
    this.#streamId = isStart ? streamId : (streamId ?? this.#streamId);
    this.#phase = isStart && streamId === null ? "plain" : "following";
    if (this.#isBroken) {
      this.#isBroken = false;
      this.#reconnects += 1;
    } else {
      this.#spentMs = 0;
      this.#hasLife = true;
    }
    this.#stopwatch.byte();
    if (this.#stopWanted && this.#phase === "plain") this.#finish(STOPPED, null);
  }

  /** Bytes of a body have come, be it only a sign of life. */
  receiveLife(): void {
    this.#spentMs = 0;
    this.#hasLife = true;
  }

  /** An item of a body has come; returns its entry if that is new. */
  receive(item: Item): Entry | null {
    if (this.isOver) return null;
    switch (item.kind) {
      case "entry":
        return this.#receiveEntry(item);
      case "end":
        if (item.offset === null || this.#isNext(item.offset)) this.#finish(item.ending, faultOfEnding(item.ending));
        return null;
      case "unreadable":
        this.#receiveUnreadable(item);
        return null;
    }
  }

  /** There is no answer, or no more of it. */
  receiveBreach({ failure, fault, ending = null }: Breach): void {
    if (this.isOver) return;
    // A connection that brought something was no vain try, however long it was quiet at last.
    if (!this.#hasLife) this.#spend(this.#options.patience.timeout);
    this.#hasLife = false;
    this.#isBroken = true;
    const next = NEXT[this.#phase][failure];
    this.#enterPhase(failure, next);
    const waitMs = this.#backoff.nextMs(fault.retryAfterMs);
    if (this.#phase === "plain") this.#finishPlain(fault);
    else if (next === "give_up") this.#finish(ending ?? this.#refused(fault), fault);
    else if (this.#stopWanted && next === "start") this.#finish(STOPPED, null);
    else if (this.#isTooMuch(waitMs, failure)) this.#giveUp(fault);
    else this.#tryAgain(next, waitMs, failure, fault.message);
  }

  /** The wait is over, or there is a reason not to wait any longer. */
  wake(): void {
    if (this.#step.do !== "wait") return;
    this.#spend(this.#step.ms);
    if (this.#stopWanted && this.#then.do === "start") this.#finish(STOPPED, null);
    else this.#enter(this.#then);
  }

  /** The stream is not wanted any more. The end still comes, except where nobody can be told. */
  requestStop(): void {
    if (this.isOver) return;
    this.#stopWanted = true;
    if (this.#phase === "plain") this.#finish(STOPPED, null);
  }

  /** Follow no further; what was to be stopped counts as stopped. */
  leave(): void {
    if (!this.isOver) this.#finish(this.#stopWanted ? STOPPED : null, null);
  }

  // --- inside

  #receiveEntry(item: Item & { kind: "entry" }): Entry | null {
    if (item.offset <= this.#lastOffset) return null;
    if (!this.#options.isMerged && !this.#isNext(item.offset)) return null;
    this.#lastOffset = item.offset;
    this.#backoff.reset();
    this.#fruitless = 0;
    this.#attempt = 0;
    if (bearsContent(item.chunk)) this.#stopwatch.content();
    return { offset: item.offset, chunk: item.chunk };
  }

  #receiveUnreadable({ fault, ending }: Item & { kind: "unreadable" }): void {
    this.#finish(ending ?? (this.#phase === "plain" ? this.#cut(fault) : null), fault);
  }

  /** Text with a hole is worse than an error. */
  #isNext(offset: number): boolean {
    if (this.#options.isMerged || offset <= this.#lastOffset + 1) return true;
    this.#finish(null, faultOf("protocol", `the relay sent offset ${offset} behind ${this.#lastOffset}`));
    return false;
  }

  #enterPhase(failure: Failure, next: "start" | "resume" | "give_up"): void {
    if (failure === "taken" && next === "resume") this.#phase = "following";
    else if (next === "resume" && (this.#phase === "asking" || this.#phase === "asking_again")) this.#phase = "unsure";
    else if (next === "start" && this.#phase === "unsure") this.#phase = "asking_again";
    if (next === "start") this.#starts += 1;
  }

  /** Counts the time of a step, but not more of it than the step could have taken on a device that is awake. */
  #spend(atMostMs: number): void {
    const elapsedMs = this.#options.clock.now() - this.#stepSince;
    if (this.#options.isOnline()) this.#spentMs += Math.max(0, Math.min(elapsedMs, atMostMs + SLACK_MS));
    this.#stepSince = this.#options.clock.now();
  }

  #isTooMuch(waitMs: number, failure: Failure): boolean {
    if (!this.#options.isOnline()) return false;
    const { retryAttempts, resumeFor } = this.#options.patience;
    if (this.#phase === "following" || this.#phase === "attaching") return this.#spentMs + waitMs > resumeFor;
    if (!TELLING.has(failure)) this.#fruitless += 1;
    return this.#fruitless > retryAttempts || this.#starts > 1 + retryAttempts;
  }

  #tryAgain(next: "start" | "resume", ms: number, failure: Failure, reason: string): void {
    this.#attempt += 1;
    const bare = failure === "no_route";
    this.#then = next === "start" ? { do: "start", bare } : { do: "resume", after: this.#lastOffset };
    this.#enter({ do: "wait", ms, attempt: this.#attempt, reason });
  }

  #enter(step: Step): void {
    this.#step = step;
    this.#stepSince = this.#options.clock.now();
  }

  #giveUp(fault: Fault): void {
    if (this.#stopWanted) {
      this.#finish(STOPPED, null);
      return;
    }
    this.#gaveUp = true;
    const isTold = fault.kind !== "lost" && fault.status !== null;
    const wasThere = this.#phase === "following" || this.#phase === "attaching";
    const message = wasThere ? `the connection is lost: ${fault.message}` : fault.message;
    this.#finish(null, isTold ? fault : { ...fault, kind: "lost", message });
  }

  /** A stream that nobody can resume has ended with its connection: to its reader that is the engine's doing. */
  #finishPlain(fault: Fault): void {
    const ending = this.#stopWanted ? STOPPED : this.#cut(fault);
    this.#finish(ending, faultOfEnding(ending));
  }

  /** Returns the end of a stream that nobody can resume. */
  #cut(fault: Fault): Ending {
    const hasContent = this.#stopwatch.times().contents > 0;
    return endingWith(hasContent ? "truncated" : "failed", "upstream_closed", fault.message);
  }

  /** Returns the end of a request that was refused; null when there is a stream, whose end is not known. */
  #refused(fault: Fault): Ending | null {
    const isUnstarted = this.#phase === "asking" || this.#phase === "asking_again";
    const { status, retryAfterMs, message } = fault;
    return isUnstarted ? { ...endingWith("failed", fault.code ?? fault.kind, message), status, retryAfterMs } : null;
  }

  #finish(ending: Ending | null, fault: Fault | null): void {
    this.#ending = ending;
    this.#fault = this.#stopWanted && ending?.state === "cancelled" ? null : fault;
    this.#stopwatch.end();
    this.#enter({ do: "over" });
  }
}
