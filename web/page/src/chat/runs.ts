import type {
  ChatPayload,
  Generation,
  LLMStreamClient,
  StreamResult,
  StreamStatus,
  StreamUpdate,
} from "@headrace/client";
import { type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { costOf, factsOf, tokensOf } from "../relay/json.ts";
import type { AnswerRecord, AnswerStatus, Facts } from "../store/types.ts";
import { isOpen, NO_FACTS } from "../store/types.ts";
import type { Answer } from "./answer.ts";

/** What runs need of the client. */
export type Asking = Pick<LLMStreamClient, "generate" | "attach">;

export interface RunsOptions {
  readonly client: Asking;
  readonly endpoint: string;
  /** Keeps how far an answer is; called at most once in `saveEveryMs`, and at every end. */
  save(record: AnswerRecord): Promise<void>;
  /** Called after the end of an answer was kept. */
  onEnd?(answer: Answer): void;
  /** The relay refused for want of a key. */
  onUnauthorized?(): void;
  /** The client gave up on the relay. */
  onLost?(): void;
  /** The relay's record of a stream, for its bill and the figures this tab could not measure; null where there is none. */
  record?(streamId: string): Promise<Readonly<Record<string, unknown>> | null>;
  /** Calls `call` in `ms`; returns how to prevent it. */
  after(ms: number, call: () => void): () => void;
  readonly saveEveryMs?: number;
}

interface Run {
  readonly answer: Answer;
  readonly generation: Generation;
  /** False for what was attached to: only the relay then knows when it began. */
  readonly isOwn: boolean;
  cancelSave: (() => void) | null;
}

/** A long answer is written whole each time, so it is written less often: a megabyte every five seconds. */
const SAVE_MS_PER_CHARACTER = 0.005;
const SAVE_EVERY_MS = 1000;
/** A bill that the relay had to estimate may be corrected once its vendor, or the last client, is done. */
const SETTLE_MS = 3000;
/** The client's cause where the relay wants a key, or another one. */
const UNAUTHORIZED = "invalid_api_key";
/** The client's causes for a stream that the relay does not have, or no longer whole. */
const GONE: readonly string[] = ["stream_not_found", "stream_gone"];

/** The answers that grow in this tab, whichever conversation is shown. */
export class Runs {
  readonly #options: RunsOptions;
  readonly #runs = new Map<string, Run>();
  readonly #busy: Signal<ReadonlySet<string>> = signal(new Set());

  constructor(options: RunsOptions) {
    this.#options = options;
  }

  /** Ids of the conversations with an answer that grows. */
  get busy(): ReadonlySignal<ReadonlySet<string>> {
    return this.#busy;
  }

  has(answerId: string): boolean {
    return this.#runs.has(answerId);
  }

  /** Return the answer of this id, while it grows here. */
  get(answerId: string): Answer | null {
    return this.#runs.get(answerId)?.answer ?? null;
  }

  /** Ask for this answer. */
  start(answer: Answer, payload: ChatPayload): void {
    const options = { ...this.#callbacks(answer), streamId: answer.streamId };
    this.#follow(answer, true, this.#options.client.generate(this.#options.endpoint, payload, options));
  }

  /** Follow the answer's stream behind what it has: after a reload, in a second tab, or to resume. */
  attach(answer: Answer): void {
    if (this.#runs.has(answer.id)) return;
    answer.stand(openFrom({ state: "waiting" }, answer));
    const options = { ...this.#callbacks(answer), after: answer.lastOffset, text: answer.text };
    this.#follow(answer, false, this.#options.client.attach(answer.streamId, options));
  }

  /** Stop the engine behind this answer; its end still comes. */
  async stop(answerId: string): Promise<void> {
    await this.#runs.get(answerId)?.generation.cancel();
  }

  /** Keep what has come by now: the tab may be about to go. */
  flush(): void {
    for (const run of this.#runs.values()) {
      run.cancelSave?.();
      run.cancelSave = null;
      void this.#options.save(run.answer.toRecord());
    }
  }

  #callbacks(answer: Answer) {
    return {
      onChunk: (update: StreamUpdate) => {
        answer.grow(update.text, update.reasoning, update.lastOffset);
        if (answer.status.peek().state === "waiting" && hasBegun(answer)) answer.stand({ state: "streaming" });
        this.#saveSoon(answer);
      },
      onState: (status: StreamStatus) => {
        // The end is told by `result`, behind the last text.
        if (isOpen(status)) answer.stand(openFrom(status, answer));
      },
    };
  }

  #follow(answer: Answer, isOwn: boolean, generation: Generation): void {
    this.#runs.set(answer.id, { answer, generation, isOwn, cancelSave: null });
    this.#count();
    void generation.result.then((result) => this.#end(answer, isOwn, result));
  }

  async #end(answer: Answer, isOwn: boolean, result: StreamResult): Promise<void> {
    this.#runs.get(answer.id)?.cancelSave?.();
    this.#runs.delete(answer.id);
    answer.know(knownFrom(result, isOwn, answer.facts.value));
    answer.stand(statusFrom(result.status, isOwn, answer));
    this.#count();
    this.#report(result.status);
    await this.#options.save(answer.toRecord());
    await this.#complete(answer);
    this.#options.onEnd?.(answer);
  }

  #report(status: StreamStatus): void {
    const isRefused = status.state === "failed" && status.status === 401;
    if (isRefused || ("cause" in status && status.cause === UNAUTHORIZED)) this.#options.onUnauthorized?.();
    if ("cause" in status && status.cause === "connection_lost") this.#options.onLost?.();
  }

  /** Ask the relay for what it charges, and for the figures that this tab does not have. */
  async #complete(answer: Answer): Promise<void> {
    if (!answer.hasText.value || isLost(answer.status.value)) return;
    await this.#learn(answer);
    const { bill } = answer.facts.value;
    if (bill?.isEstimated) this.#options.after(SETTLE_MS, () => void this.#learn(answer));
  }

  async #learn(answer: Answer): Promise<void> {
    const record = await this.#options.record?.(answer.streamId);
    if (!record || this.#runs.has(answer.id)) return;
    const told = factsOf(record);
    const known = answer.facts.value;
    answer.know({ ...merge(known, told), ...recordedOf(told, known) });
    await this.#options.save(answer.toRecord());
  }

  #saveSoon(answer: Answer): void {
    const run = this.#runs.get(answer.id);
    if (run === undefined || run.cancelSave !== null) return;
    const everyMs = Math.max(this.#options.saveEveryMs ?? SAVE_EVERY_MS, answer.text.length * SAVE_MS_PER_CHARACTER);
    run.cancelSave = this.#options.after(everyMs, () => {
      run.cancelSave = null;
      void this.#options.save(answer.toRecord());
    });
  }

  #count(): void {
    this.#busy.value = new Set([...this.#runs.values()].map(({ answer }) => answer.conversationId));
  }
}

/**
 * Return how an answer stands to its reader: waited for until something of it can be read.
 *
 * To the client a stream runs from its first entry on, which bears no text, and one that is attached to is waited for again.
 */
function openFrom(status: StreamStatus, answer: Answer): AnswerStatus {
  if (status.state === "reconnecting") return status;
  return { state: hasBegun(answer) ? "streaming" : "waiting" };
}

function hasBegun(answer: Answer): boolean {
  return answer.hasText.peek() || answer.reasoning.peek() !== "";
}

/**
 * Return how an answer stands by the client's last word.
 *
 * What has text is no failure, even if the relay forgot it; what wants but a key goes on once there is one.
 */
function statusFrom(status: StreamStatus, isOwn: boolean, answer: Answer): AnswerStatus {
  if (status.state !== "failed" && status.state !== "truncated") return status;
  const { cause, message } = status;
  if (cause === UNAUTHORIZED && !(isOwn && status.state === "failed")) {
    return { state: "truncated", cause, message, canResume: true };
  }
  if (status.state === "truncated" || !GONE.includes(cause) || !answer.hasText.value) return status;
  return { state: "truncated", cause, message, canResume: false };
}

/** Whether the relay has nothing to say about it just now. */
function isLost(status: AnswerStatus): boolean {
  return status.state === "truncated" && (status.canResume || GONE.includes(status.cause));
}

function knownFrom({ usage, metrics }: StreamResult, isOwn: boolean, known: Facts): Facts {
  const counted = metrics.tokens > 0 ? metrics.tokens : null;
  const told = { ...NO_FACTS, tokens: tokensOf(usage), cost: costOf(usage) };
  if (!isOwn) return merge(told, known);
  const { firstTokenMs, tpotMs } = metrics;
  const tokensPerSecond = tpotMs !== null && tpotMs > 0 ? 1000 / tpotMs : null;
  return merge(told, { ...known, tokens: counted, ttftMs: firstTokenMs, tokensPerSecond });
}

/** Return the facts of `first`, and those of `second` where it has none. */
function merge(first: Facts, second: Facts): Facts {
  return {
    tokens: first.tokens ?? second.tokens,
    ttftMs: first.ttftMs ?? second.ttftMs,
    tokensPerSecond: first.tokensPerSecond ?? second.tokensPerSecond,
    cost: first.cost ?? second.cost,
    ...recordedOf(first, second),
  };
}

/** What the relay's record alone tells: of `first`, else of `second`; what was never asked for stays absent. */
function recordedOf(first: Facts, second: Facts): Pick<Facts, "bill" | "origin"> {
  const bill = first.bill ?? second.bill;
  const origin = first.origin ?? second.origin;
  return { ...(bill ? { bill } : {}), ...(origin ? { origin } : {}) };
}
