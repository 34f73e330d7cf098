/** What a client, and each of its streams, may be told. */

import type { Callbacks } from "./callbacks.ts";
import type { Clock } from "./clock.ts";
import type { StreamConfigInput } from "./config.ts";
import type { EventSourceMaker } from "./eventsource-line.ts";
import type { Fetch } from "./http.ts";
import type { TransportName } from "./metrics.ts";
import type { Network } from "./network.ts";
import type { WorkerLike } from "./port.ts";
import type { StorageLike } from "./saved.ts";
import type { WebSocketMaker } from "./socket.ts";
import type { Schedule } from "./view.ts";

/** What a stream may be told, and a client for all of its streams. */
export interface StreamOptions {
  /** Default "fetch". "websocket" falls back to it where a WebSocket cannot be opened, "eventsource" carries short requests only. */
  transport?: TransportName;
  /** What `close`, and leaving a loop early, does to a stream that runs. Default "stop". */
  onUnmount?: "stop" | "keep";
  /** How the answer comes over `fetch`. Default "ndjson"; "sse" for proxies that let only that pass unbuffered. */
  format?: "ndjson" | "sse";
  /** Seconds that the relay waits for this client after a drop. Default true: as long as it is set to, 30 unless it was changed. */
  linger?: number | true;
}

export interface ClientOptions extends StreamOptions {
  /** Where paths go, with or without `/v1`. Default: the page's origin. */
  baseURL?: string;
  /** Sent as a bearer token; never in a URL, never stored. A function is asked anew for each stream. */
  apiKey?: string | (() => string | null);
  /** Sent with every request over HTTP. */
  headers?: Record<string, string>;
  /** Default: true where there are Workers. False, or any of the platform's parts below, keeps the network on this thread. */
  worker?: boolean;
  /** Over `STREAM_CONFIG`. */
  config?: StreamConfigInput;
  /** Milliseconds without any progress after which a stream that has begun is given up; offline and asleep do not count. Default 60000. */
  resumeFor?: number;

  // The platform's parts, for tests and for platforms that lack them.
  fetch?: Fetch;
  clock?: Clock;
  random?: () => number;
  network?: Network;
  storage?: StorageLike | null;
  WebSocket?: WebSocketMaker | null;
  EventSource?: EventSourceMaker | null;
  schedule?: Schedule;
  isHidden?: () => boolean;
  createWorker?: () => WorkerLike;
}

export interface GenerateOptions extends StreamOptions, Callbacks {
  /** Aborting is `cancel()`. */
  signal?: AbortSignal;
  /** An id of one's own, `[A-Za-z0-9_-]{1,64}`; one is made up otherwise. */
  streamId?: string;
}

export interface AttachOptions extends Omit<GenerateOptions, "streamId"> {
  /** Offset of the last entry that is there already; -1 (default) for none. */
  after?: number;
  /** The text of what is there already: `text` and the result begin with it. */
  text?: string;
  /** Successive chunks that differ in nothing but text may come as one: less to send, and offsets jump. */
  merge?: boolean;
}
