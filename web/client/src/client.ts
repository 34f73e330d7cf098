/** The client: starts streams, follows them, and keeps one host for all of them. */

import { addressOf, rootOf, streamURL, TOKEN_ROUTE } from "./address.ts";
import { type Clock, systemClock } from "./clock.ts";
import { checkNumber, configOf, type StreamConfig } from "./config.ts";
import { endingWith, STOPPED } from "./ending.ts";
import { faultOf } from "./fault.ts";
import type { Generation } from "./generation.ts";
import { localHost, workerHost } from "./host-port.ts";
import type { Fetch } from "./http.ts";
import type { Ask, ToHost, ToPage } from "./messages.ts";
import type { TransportName } from "./metrics.ts";
import type { AttachOptions, ClientOptions, GenerateOptions, StreamOptions } from "./options.ts";
import { type ChatPayload, filled } from "./payload.ts";
import type { Port, WorkerLike } from "./port.ts";
import { reportMetrics } from "./report.ts";
import { RunningGeneration } from "./running.ts";
import { type SavedStream, SavedStreams, sessionStorageOrNull } from "./saved.ts";
import { tellStop } from "./stopper.ts";
import { newStreamId } from "./stream-id.ts";
import { tokenURL } from "./token-url.ts";
import { systemView, type View, viewOf } from "./view.ts";

/** For how long a stream lingers where the relay decides, unless it is set otherwise. */
const LINGER_MS = 30_000;
const RESUME_FOR_MS = 60_000;
const STREAM_ID = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * Streams of text that resume, stop, and say how they ended.
 *
 * One Worker a client does all network and decoding. Nothing is sent when a page is closed or reloaded: the relay keeps a stream
 * for its `linger`, and `pending` finds it after the reload.
 */
export class LLMStreamClient {
  readonly #options: ClientOptions;
  readonly #config: StreamConfig;
  readonly #resumeFor: number;
  readonly #clock: Clock;
  readonly #fetch: Fetch;
  readonly #view: View;
  readonly #saved: SavedStreams;
  readonly #host: Port<ToPage, ToHost>;
  readonly #running = new Map<number, RunningGeneration>();
  #count = 0;
  #isClosed = false;

  /**
   * @throws TypeError A setting is of a wrong type, or not known.
   * @throws RangeError A setting is out of range.
   */
  constructor(options: ClientOptions = {}) {
    this.#options = options;
    this.#config = configOf(options.config);
    this.#resumeFor = options.resumeFor ?? RESUME_FOR_MS;
    checkNumber("resumeFor", this.#resumeFor, { least: 0, most: 24 * 60 * 60 * 1000 });
    checkStreamOptions(options);
    this.#clock = options.clock ?? systemClock;
    this.#fetch = options.fetch ?? ((url, init) => globalThis.fetch(url, init));
    const isHidden = options.isHidden ?? (() => globalThis.document?.hidden === true);
    this.#view = options.schedule ? viewOf(options.schedule, isHidden) : systemView(this.#config.chunkThrottle);
    this.#saved = new SavedStreams(options.storage === undefined ? sessionStorageOrNull() : options.storage);
    this.#host = hostOf(options, this.#clock);
    this.#host.onMessage = (message) => this.#receive(message);
  }

  /** What the client works with: `STREAM_CONFIG` and what was laid over it. */
  get config(): Readonly<StreamConfig> {
    return this.#config;
  }

  /**
   * Asks.
   *
   * @param endpoint A path or URL: a Headrace chat route, the EventSource route, or that of any OpenAI-compatible server.
   * @param payload A chat request. `stream`, and where it has no such field, `max_tokens` and `temperature` are added.
   * @throws TypeError An option is of a wrong type, or the endpoint is no URL.
   */
  generate(endpoint: string, payload: ChatPayload, options: GenerateOptions = {}): Generation {
    this.#check(options);
    const { url, root, route } = addressOf(endpoint, this.#baseURL);
    const streamId = options.streamId ?? newStreamId();
    if (!STREAM_ID.test(streamId)) throw new TypeError("streamId must be 1 to 64 letters, digits, _ or -");
    const wanted = options.transport ?? this.#options.transport ?? "fetch";
    const transport = route === TOKEN_ROUTE ? "eventsource" : route === null && wanted !== "fetch" ? "fetch" : wanted;
    const body = filled(payload, this.#config);
    const ask = this.#ask(options, { url, root, transport, payload: body, streamId });
    if (transport !== "eventsource") return this.#open(ask, options, url);
    try {
      return this.#open({ ...ask, url: tokenURL(root, body, ask.linger), streamId: null }, options, url);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      return this.#refuse(ask, options, error.message);
    }
  }

  /**
   * Follows a stream that runs, or has ended, whoever started it.
   *
   * @throws TypeError An option is of a wrong type. @throws RangeError `after` is no offset.
   */
  attach(streamId: string, options: AttachOptions = {}): Generation {
    this.#check(options);
    const { after = -1, text = "", merge = false } = options;
    checkNumber("after", after, { least: -1, most: Number.MAX_SAFE_INTEGER, isWhole: true });
    if (!STREAM_ID.test(streamId)) throw new TypeError("streamId must be 1 to 64 letters, digits, _ or -");
    const endpoint = this.#saved.find(streamId)?.endpoint ?? null;
    const root = endpoint === null ? rootOf(this.#baseURL) : addressOf(endpoint, this.#baseURL).root;
    const url = endpoint ?? streamURL(root, streamId);
    const wanted = options.transport ?? this.#options.transport ?? "fetch";
    const transport = wanted === "eventsource" ? "fetch" : wanted;
    const ask = this.#ask(options, { url, root, transport, payload: null, streamId });
    return this.#open({ ...ask, after, merge }, options, endpoint ?? root, text);
  }

  /** Returns the streams of this tab that had not ended when they were last heard of, newest first. */
  pending(): SavedStream[] {
    return this.#saved.list();
  }

  /** Stops all that runs; resolves when each engine was told, or could not be for as long as it lingers. */
  async cancel(): Promise<void> {
    await Promise.all([...this.#running.values()].map((generation) => generation.cancel()));
  }

  /** The view goes away: stops or leaves each stream that runs, by its `onUnmount`, and ends the Worker. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const generation of [...this.#running.values()]) generation.close();
    this.#host.close();
  }

  // --- inside

  get #baseURL(): string | null {
    return this.#options.baseURL ?? globalThis.location?.origin ?? null;
  }

  #check(options: StreamOptions): void {
    if (this.#isClosed) throw new Error("the client is closed");
    checkStreamOptions(options);
  }

  #ask(options: GenerateOptions, own: Pick<Ask, "url" | "root" | "transport" | "payload" | "streamId">): Ask {
    const { timeout, retryAttempts, retryDelay, maxBufferSize } = this.#config;
    const { apiKey } = this.#options;
    const key = (typeof apiKey === "function" ? apiKey() : apiKey) || null;
    return {
      ...own,
      after: -1,
      merge: false,
      linger: options.linger ?? this.#options.linger ?? true,
      format: options.format ?? this.#options.format ?? "ndjson",
      headers: { ...this.#options.headers, ...(key === null ? {} : { Authorization: `Bearer ${key}` }) },
      key,
      patience: { timeout, retryAttempts, retryDelay, resumeFor: this.#resumeFor },
      maxBufferSize,
    };
  }

  #open(ask: Ask, options: GenerateOptions, endpoint: string, text = ""): Generation {
    const generation = this.#generation(ask, options, endpoint, text);
    const { signal } = options;
    if (signal?.aborted) {
      queueMicrotask(() => generation.fail(STOPPED, null));
      return generation;
    }
    const onAbort = (): void => void generation.cancel();
    signal?.addEventListener("abort", onAbort, { once: true });
    void generation.result.then(() => signal?.removeEventListener("abort", onAbort));
    this.#host.post({ type: "open", id: this.#count, ask });
    generation.begin();
    return generation;
  }

  /** Returns a generation that fails before anything was sent. */
  #refuse(ask: Ask, options: GenerateOptions, message: string): Generation {
    const generation = this.#generation({ ...ask, streamId: null }, options, ask.url, "");
    const fault = { ...faultOf("request", message), code: "invalid_request" };
    queueMicrotask(() => generation.fail(endingWith("failed", "invalid_request", message), fault));
    return generation;
  }

  #generation(ask: Ask, options: GenerateOptions, endpoint: string, text: string): RunningGeneration {
    this.#count += 1;
    const id = this.#count;
    const { root, headers, linger } = ask;
    const startedAt = (ask.streamId === null ? null : this.#saved.find(ask.streamId)?.startedAt) ?? Date.now();
    const generation = new RunningGeneration({
      id,
      streamId: ask.streamId,
      after: ask.after,
      text,
      transport: ask.transport,
      onUnmount: options.onUnmount ?? this.#options.onUnmount ?? "stop",
      callbacks: options,
      config: this.#config,
      clock: this.#clock,
      view: this.#view,
      post: (message) => this.#host.post(message),
      tellStop: (streamId, isOver) => {
        const url = streamURL(root, streamId, "/cancel");
        return tellStop(this.#fetch, this.#clock, {
          url,
          headers,
          tryForMs: linger === true ? LINGER_MS : linger * 1000,
          isOver,
        });
      },
      book: {
        moved: (streamId, offset) => this.#saved.put({ streamId, endpoint, offset, startedAt }),
        ended: (streamId) => this.#saved.remove(streamId),
        measured: (streamId, metrics) => {
          // Who came later did not wait for the first token: what it saw says nothing of the stream.
          if (this.#config.metrics.report && ask.payload !== null)
            reportMetrics(this.#fetch, { root, streamId, headers }, metrics);
        },
        left: () => this.#running.delete(id),
      },
    });
    this.#running.set(id, generation);
    return generation;
  }

  #receive(message: ToPage): void {
    if (message.type !== "ready") this.#running.get(message.id)?.receive(message);
  }
}

const TRANSPORTS: readonly TransportName[] = ["fetch", "eventsource", "websocket"];

function checkStreamOptions({ transport, onUnmount, format, linger }: StreamOptions): void {
  checkWord("transport", transport, TRANSPORTS);
  checkWord("onUnmount", onUnmount, ["stop", "keep"]);
  checkWord("format", format, ["ndjson", "sse"]);
  if (linger !== undefined && linger !== true) checkNumber("linger", linger, { least: 0, most: 24 * 60 * 60 });
}

function checkWord(name: string, value: string | undefined, words: readonly string[]): void {
  if (value !== undefined && !words.includes(value)) {
    throw new TypeError(
      `${name} must be ${words.map((word) => `"${word}"`).join(" or ")}, not ${JSON.stringify(value)}`,
    );
  }
}

/** Parts of the platform that were given cannot be posted to a Worker: then the host is on this thread. */
function hostOf(options: ClientOptions, clock: Clock): Port<ToPage, ToHost> {
  const { fetch, random, network, WebSocket: webSocket, EventSource: eventSource } = options;
  const given = { fetch, random, network, webSocket, eventSource, clock: options.clock };
  const over = Object.fromEntries(Object.entries(given).filter(([, part]) => part !== undefined));
  const local = (): Port<ToPage, ToHost> => localHost(over);
  const hasWorkers = options.createWorker !== undefined || typeof Worker === "function";
  const isLocal = options.worker === false || !hasWorkers || Object.keys(over).length > 0;
  return isLocal ? local() : workerHost(options.createWorker ?? createWorker, local, clock);
}

/** Bundlers find the Worker by this very expression. */
function createWorker(): WorkerLike {
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
}
