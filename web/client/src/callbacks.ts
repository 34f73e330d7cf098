/** What a caller is told of a stream. */

import type { StreamError } from "./errors.ts";
import type { Generation, StreamResult, StreamUpdate } from "./generation.ts";
import type { StreamMetrics } from "./metrics.ts";
import type { StreamStatus } from "./status.ts";

/** One of `onComplete` and `onError` is called, once; neither after `detach`, nor when `close` leaves a stream to its linger. */
export interface Callbacks {
  /** At most one call a frame. */
  onChunk?(update: StreamUpdate, generation: Generation): void;
  /** Each change; a stream begins as `waiting` without a call. */
  onState?(status: StreamStatus, generation: Generation): void;
  /** The answer is whole, or this client stopped it. */
  onComplete?(result: StreamResult): void;
  /** Any other end. */
  onError?(error: StreamError, result: StreamResult): void;
  /** Once, at the end, after the others. */
  onMetrics?(metrics: StreamMetrics): void;
}

/** Calls a caller's callback. One that throws is the caller's bug: it is reported as uncaught, and the stream goes on. */
export function guarded(call: () => void): void {
  try {
    call();
  } catch (error) {
    rethrowLater(error);
  }
}

/** Reports an error as uncaught, in a task of its own. */
export function rethrowLater(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
