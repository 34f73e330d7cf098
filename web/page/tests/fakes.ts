import type {
  AttachOptions,
  ChatPayload,
  GenerateOptions,
  Generation,
  StreamResult,
  StreamStatus,
  StreamUpdate,
} from "@headrace/client";
import type { Asking } from "../src/chat/runs.ts";
import type { TabMessage, Tabs } from "../src/store/channel.ts";
import { type AnswerRecord, type ConversationRecord, NO_FACTS, type QuestionRecord } from "../src/store/types.ts";

export function conversation(id: string, more: Partial<ConversationRecord> = {}): ConversationRecord {
  return { id, title: `About ${id}`, createdAt: 1000, updatedAt: 1000, ...more };
}

export function question(id: string, more: Partial<QuestionRecord> = {}): QuestionRecord {
  return { kind: "question", id, conversationId: "c", position: 0, createdAt: 1000, text: "Why?", ...more };
}

export function answer(id: string, more: Partial<AnswerRecord> = {}): AnswerRecord {
  return {
    kind: "answer",
    id,
    conversationId: "c",
    questionId: "q",
    createdAt: 2000,
    model: "m",
    streamId: `s_${id}`,
    text: "",
    reasoning: "",
    lastOffset: -1,
    status: { state: "waiting" },
    facts: NO_FACTS,
    ...more,
  };
}

export const COMPLETE: StreamStatus = { state: "completed", cause: "stop", finishReason: "stop" };
export const LOST: StreamStatus = { state: "truncated", cause: "connection_lost", message: null, canResume: true };
export const STOPPED: StreamStatus = { state: "cancelled", cause: "client_stop", message: null };

type Callbacks = AttachOptions & GenerateOptions;

/** The client's word for a stream that the relay does not have. */
export function unknown(cause: "stream_not_found" | "stream_gone"): StreamStatus {
  return { state: "failed", cause, message: "no such stream", status: null, retryAfterMs: null };
}

/** One call of a client, driven by the test. */
export class FakeCall {
  readonly streamId: string;
  readonly payload: ChatPayload | null;
  readonly after: number;
  readonly generation: Generation;
  isCancelled = false;
  /** What was sent as messages, without their roles. */
  get said(): unknown[] {
    return (this.payload?.messages ?? []).map(({ content }) => content);
  }

  readonly #callbacks: Callbacks;
  #resolve: (result: StreamResult) => void = () => {};
  #offset: number;

  constructor(streamId: string, payload: ChatPayload | null, callbacks: Callbacks) {
    this.streamId = streamId;
    this.payload = payload;
    this.after = callbacks.after ?? -1;
    this.#offset = this.after;
    this.#callbacks = callbacks;
    const result = new Promise<StreamResult>((resolve) => {
      this.#resolve = resolve;
    });
    const cancel = async () => {
      this.isCancelled = true;
      this.end(STOPPED);
    };
    this.generation = { streamId, result, cancel } as unknown as Generation;
  }

  say(text: string, reasoning = ""): void {
    this.#offset += 1;
    const update: StreamUpdate = { text, reasoning, firstOffset: this.#offset, lastOffset: this.#offset, chunks: [] };
    this.#callbacks.onState?.({ state: "streaming" }, this.generation);
    this.#callbacks.onChunk?.(update, this.generation);
  }

  end(status: StreamStatus, more: { usage?: unknown; tokens?: number } = {}): void {
    const metrics = { firstTokenMs: 400, tpotMs: 50, tokens: more.tokens ?? 0 };
    this.#callbacks.onState?.(status, this.generation);
    this.#resolve({ status, usage: more.usage ?? null, metrics } as unknown as StreamResult);
  }
}

/** A client whose streams say what the test says. */
export class FakeClient implements Asking {
  readonly calls: FakeCall[] = [];

  generate(_endpoint: string, payload: ChatPayload, options: Callbacks = {}): Generation {
    return this.#add(new FakeCall(options.streamId ?? "", payload, options));
  }

  attach(streamId: string, options: Callbacks = {}): Generation {
    return this.#add(new FakeCall(streamId, null, options));
  }

  get last(): FakeCall {
    const call = this.calls.at(-1);
    if (call === undefined) throw new Error("nothing was asked");
    return call;
  }

  #add(call: FakeCall): Generation {
    this.calls.push(call);
    return call.generation;
  }
}

/** Tabs of one browser: what one posts, all others hear. */
export class FakeTabs {
  readonly #listeners: ((message: TabMessage) => void)[] = [];

  open(): Tabs {
    let own = (_message: TabMessage): void => {};
    return {
      post: (message) => {
        for (const listener of this.#listeners) if (listener !== own) listener(message);
      },
      listen: (listener) => {
        own = listener;
        this.#listeners.push(listener);
      },
    };
  }
}

/** Timers that run when the test says so. */
export class FakeTimers {
  readonly waits: { ms: number; call: () => void }[] = [];

  readonly after = (ms: number, call: () => void): (() => void) => {
    const wait = { ms, call };
    this.waits.push(wait);
    return () => {
      const place = this.waits.indexOf(wait);
      if (place >= 0) this.waits.splice(place, 1);
    };
  };

  /** Run what waits now, not what that makes wait. */
  fire(): void {
    for (const { call } of this.waits.splice(0)) call();
  }
}

/** Let everything that is settled have its effect. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setTimeout(resolve, 0));
}
