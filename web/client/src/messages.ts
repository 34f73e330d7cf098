/** What page and Worker tell each other. All of it can be posted; nothing of it holds a function. */

import type { JsonObject } from "./json.ts";
import type { TransportName } from "./metrics.ts";
import type { Entry, Outcome, Patience } from "./session.ts";
import type { StreamStatus } from "./status.ts";

/** One stream that is asked for. */
export interface Ask {
  /** The body of the request that starts the stream; null to follow one that is there. */
  readonly payload: JsonObject | null;
  /** Absolute URL that starts it. */
  readonly url: string;
  /** Root of the relay's API. */
  readonly root: string;
  /** As this client proposes or knows it; null where the server makes it up. */
  readonly streamId: string | null;
  readonly after: number;
  readonly merge: boolean;
  /** Seconds that the relay waits for this client after a drop. */
  readonly linger: number | true;
  readonly format: "ndjson" | "sse";
  readonly transport: TransportName;
  /** The caller's own headers, and the key as a bearer token. */
  readonly headers: Readonly<Record<string, string>>;
  readonly key: string | null;
  readonly patience: Patience;
  readonly maxBufferSize: number;
}

export type ToHost =
  | { readonly type: "open"; readonly id: number; readonly ask: Ask }
  /** One more batch may come, after `paceMs` unless the buffer is full. */
  | { readonly type: "credit"; readonly id: number; readonly paceMs: number }
  | { readonly type: "stop"; readonly id: number }
  /** The relay has been told to stop. */
  | { readonly type: "told"; readonly id: number }
  | { readonly type: "detach"; readonly id: number };

export type ToPage =
  | { readonly type: "ready" }
  | { readonly type: "head"; readonly id: number; readonly streamId: string | null; readonly transport: TransportName }
  | { readonly type: "status"; readonly id: number; readonly status: StreamStatus }
  | { readonly type: "batch"; readonly id: number; readonly entries: readonly Entry[] }
  | { readonly type: "end"; readonly id: number; readonly outcome: Outcome };
