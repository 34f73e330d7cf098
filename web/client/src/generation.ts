/** What a caller sees of one stream. */

import type { ChatChunk } from "./chunk.ts";
import type { JsonObject } from "./json.ts";
import type { StreamMetrics } from "./metrics.ts";
import type { StreamStatus } from "./status.ts";
import type { ToolCall } from "./tool-calls.ts";

/** What came since the update before. */
export interface StreamUpdate {
  /** What is new of choice 0's content. Never ends in half a character. */
  readonly text: string;
  /** What is new of choice 0's reasoning. */
  readonly reasoning: string;
  readonly firstOffset: number;
  readonly lastOffset: number;
  /**
   * The entries themselves, parsed, verbatim. None with an `incrementalFilter`, since they hold what it may have held back;
   * with transport "eventsource" they are made of its tokens.
   */
  readonly chunks: readonly ChatChunk[];
}

/** What became of a stream. */
export interface StreamResult {
  readonly text: string;
  readonly reasoning: string;
  /** Tool calls of choice 0, whole. */
  readonly toolCalls: readonly ToolCall[];
  readonly status: StreamStatus;
  /** The engine's own word. */
  readonly finishReason: string | null;
  /** OpenAI's usage object; null when nobody counted. */
  readonly usage: JsonObject | null;
  /** Null when the server is no Headrace. */
  readonly streamId: string | null;
  /** Of the newest entry; -1 for none. */
  readonly lastOffset: number;
  readonly metrics: StreamMetrics;
}

/**
 * One stream. Iterating gives the updates from then on, and applies back-pressure: what is not asked for is not read. The loop
 * ends normally after a whole answer and after `cancel` or `detach`; any other end throws its `StreamError`, behind everything
 * that came. Leaving the loop early stops the stream or detaches from it, as `onUnmount` says. One loop only.
 */
export interface Generation extends AsyncIterable<StreamUpdate> {
  /** Known before the first byte; null when the server turns out to be no Headrace, or makes the id up and has not told it. */
  readonly streamId: string | null;
  readonly status: StreamStatus;
  /** All text given so far, that of `attach`'s `text` included. */
  readonly text: string;
  readonly reasoning: string;
  /** Of the newest entry given; -1 for none. */
  readonly lastOffset: number;
  /** Resolves at the end, whatever it is. Never rejects. */
  readonly result: Promise<StreamResult>;
  /** Stop: the engine stops, and the end still comes (state `cancelled`), after 2 s at the latest. Resolves when the engine was told. */
  cancel(): Promise<void>;
  /** Follow no further; the relay keeps the stream for `linger`. No callback comes any more; `result` has the cause `detached`. */
  detach(): void;
  /** Take nothing more: reading stops, so the relay's lag grows. Nothing is lost. A server drops a client that takes nothing for long; `resume` reconnects then. */
  pause(): void;
  resume(): void;
}
