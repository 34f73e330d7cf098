/** The one error of this client. It is given to `onError`; nothing is thrown for what a network or a server does. */

import type { ErrorKind, Fault } from "./fault.ts";
import type { StreamResult } from "./generation.ts";

/** A stream that is no whole answer, and that this client did not stop. */
export class StreamError extends Error {
  /** Whose fault it is. */
  readonly kind: ErrorKind;
  /** The server's own word for it, or the cause; null when there is none. */
  readonly code: string | null;
  /** HTTP status; null where there was none. */
  readonly status: number | null;
  /** How long the server asked to wait, in milliseconds. */
  readonly retryAfterMs: number | null;
  /** What came until then. */
  readonly result: StreamResult;

  constructor(fault: Fault, result: StreamResult) {
    super(fault.message);
    this.name = "StreamError";
    this.kind = fault.kind;
    this.code = fault.code;
    this.status = fault.status;
    this.retryAfterMs = fault.retryAfterMs;
    this.result = result;
  }
}
