/** One way to a stream: HTTP, an EventSource, a shared WebSocket. */

import type { Item } from "./dialects.ts";
import type { Breach, Step } from "./session.ts";

/** A step that needs a connection. */
export type Call = Step & { do: "start" | "resume" };

/** What takes what a line brings. */
export interface Sink {
  /** Nothing more is wanted. */
  readonly isOver: boolean;
  /** Entries that may be taken before there is no room. */
  readonly free: number;
  /** The server has answered with the stream; null when it is no Headrace. */
  head(streamId: string | null): void;
  /** Something came, be it only a sign of life. */
  life(): void;
  /** Takes what came; `bytes` is how much that was. */
  take(items: readonly Item[], bytes: number): void;
  /** Resolves when there is room for more, or nothing more is wanted. */
  room(): Promise<void>;
}

export interface Line {
  /**
   * Follows the stream over one connection, until that ends.
   *
   * @param signal Aborted when the connection is not wanted any more.
   * @returns Why it ended; null when the sink is over; `unavailable` when this line cannot be had at all, and nothing was sent.
   */
  follow(call: Call, sink: Sink, signal: AbortSignal): Promise<Breach | "unavailable" | null>;
  /** Tells the server that the stream is not wanted, where the line can. */
  stop?(): void;
  /** `entries` of what came have left the buffer. */
  drained?(entries: number): void;
}
