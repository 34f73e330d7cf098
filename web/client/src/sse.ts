/**
 * Server-sent events, without I/O: WHATWG HTML 9.2.5 and 9.2.6
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 *
 * Two deliberate differences: an event has a size limit, which the standard leaves open; and `retry` values of more than 15
 * digits are ignored, because no clock can hold them.
 */

import { LineDecoder, TooLarge } from "./lines.ts";

const MAX_RETRY_DIGITS = 15;

/** One dispatched event. */
export interface SSEEvent {
  /** Its type; `message` when it names none. */
  readonly event: string;
  /** Its `data` lines joined by LF. */
  readonly data: string;
  /** The last event id in force, which an earlier event may have set. */
  readonly id: string;
}

/** Turns the bytes of an event stream, cut anywhere, into events. An event without its blank line at the end is none. */
export class SSEDecoder {
  readonly #lines: LineDecoder;
  readonly #maxEventBytes: number;
  #data: string[] = [];
  #dataSize = 0;
  #event = "";
  #lastEventId = "";
  #retryMs: number | null = null;

  constructor(options: { maxEventBytes: number }) {
    this.#maxEventBytes = options.maxEventBytes;
    this.#lines = new LineDecoder({ maxBytes: options.maxEventBytes, crEndsLine: true });
  }

  /** What a client sends as `Last-Event-ID`; an event without data may have set it. */
  get lastEventId(): string {
    return this.#lastEventId;
  }

  /** The reconnection time in force, in milliseconds; null while the sender has set none. */
  get retryMs(): number | null {
    return this.#retryMs;
  }

  /**
   * Calls `onEvent` with each event that `data` completes.
   *
   * @throws TooLarge A line, or the data of an event, passed the limit; all events before it have been given.
   */
  receive(data: Uint8Array, onEvent: (event: SSEEvent) => void): void {
    this.#lines.receive(data, (line) => this.#receiveLine(line, onEvent));
  }

  #receiveLine(line: string, onEvent: (event: SSEEvent) => void): void {
    if (line === "") {
      this.#dispatch(onEvent);
      return;
    }
    // A comment is a field with an empty name, which no field has.
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    this.#receiveField(name, value);
  }

  #receiveField(name: string, value: string): void {
    switch (name) {
      case "data":
        this.#dataSize += value.length + 1;
        if (this.#dataSize > this.#maxEventBytes + 1) throw new TooLarge(this.#maxEventBytes);
        this.#data.push(value);
        break;
      case "event":
        this.#event = value;
        break;
      case "id":
        if (!value.includes("\0")) this.#lastEventId = value;
        break;
      case "retry":
        if (/^[0-9]+$/.test(value) && value.length <= MAX_RETRY_DIGITS) this.#retryMs = Number(value);
        break;
      default: // WHATWG HTML 9.2.6: other fields are ignored.
    }
  }

  #dispatch(onEvent: (event: SSEEvent) => void): void {
    const data = this.#data;
    const event = this.#event === "" ? "message" : this.#event;
    this.#data = [];
    this.#dataSize = 0;
    this.#event = "";
    if (data.length > 0) onEvent({ event, data: data.join("\n"), id: this.#lastEventId });
  }
}
