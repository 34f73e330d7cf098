/**
 * The bodies of streaming answers, without I/O: bytes in, items out. Bytes may be cut anywhere; what cannot be read is the last
 * item, never an exception.
 *
 * | dialect         | an entry                                  | the end                              |
 * | --------------- | ----------------------------------------- | ------------------------------------ |
 * | chat as NDJSON  | a chunk; its offset is its count          | `{"offset": n, "end": {…}}`          |
 * | chat as SSE     | a chunk; its offset is its count          | `[DONE]`, or a `finish_reason`       |
 * | events as NDJSON| `{"offset": n, "chunk": {…}}`             | `{"offset": n, "end": {…}}`          |
 * | events as SSE   | `id: n`, `data:` the chunk                | `event: end`                         |
 * | tokens as SSE   | `id: STREAM:n`, `data: {"token": TEXT}`   | `[DONE]`, or `event: error`          |
 *
 * `{"error": {…}}` is the end of what can be read. Blank lines and comments are signs of life.
 */

import { type ChatChunk, choicesOf } from "./chunk.ts";
import { completed, type Ending, endingOf } from "./ending.ts";
import { type Fault, faultOf, faultOfError } from "./fault.ts";
import { isObject, isOffset, type JsonObject, parseObject, textOrNull } from "./json.ts";
import { TooLarge } from "./lines.ts";
import { NDJSONDecoder } from "./ndjson.ts";
import { SSEDecoder, type SSEEvent } from "./sse.ts";

/** Largest line or event of an answer. */
export const MAX_EVENT_BYTES = 16 * 1024 * 1024;

export const NDJSON = "application/x-ndjson";
export const SSE = "text/event-stream";

const DONE = "[DONE]";
/** How much of what cannot be read is shown. */
const SHOWN = 80;

/** What a body says. An end's `offset` is null where the dialect does not tell; so is the `ending` of what cannot be read. */
export type Item =
  | { readonly kind: "entry"; readonly offset: number; readonly chunk: ChatChunk }
  | { readonly kind: "end"; readonly offset: number | null; readonly ending: Ending }
  | { readonly kind: "unreadable"; readonly fault: Fault; readonly ending: Ending | null };

/** A decoder of one body. */
export interface Dialect {
  /** Returns what `data` completes, oldest first. */
  receive(data: Uint8Array): Item[];
  /** Returns what the orderly end of the body tells; nothing means that the stream was cut. */
  receiveEnd(): Item[];
}

/** Runs a decoder; a line that is too large becomes the last item. */
function gather(decode: (items: Item[]) => void): Item[] {
  const items: Item[] = [];
  try {
    decode(items);
  } catch (error) {
    if (!(error instanceof TooLarge)) throw error;
    items.push({ kind: "unreadable", fault: faultOf("protocol", error.message), ending: null });
  }
  return items;
}

/** What the two dialects of lines share. */
class Lines implements Dialect {
  readonly #lines: NDJSONDecoder;
  readonly #entry: (fields: JsonObject) => Item | null;

  constructor(maxEventBytes: number, entry: (fields: JsonObject) => Item | null) {
    this.#lines = new NDJSONDecoder({ maxEventBytes });
    this.#entry = entry;
  }

  receive(data: Uint8Array): Item[] {
    return gather((items) => this.#lines.receive(data, (line) => items.push(this.#item(line))));
  }

  receiveEnd(): Item[] {
    return [];
  }

  #item(line: string): Item {
    const fields = parseObject(line);
    if (fields === null) return garbage(line);
    if (!("choices" in fields)) {
      if ("end" in fields) return endItem(fields.end, fields.offset) ?? garbage(line);
      if (isObject(fields.error)) return errorItem(fields.error);
    }
    return this.#entry(fields) ?? garbage(line);
  }
}

/** The chat routes as NDJSON. */
export function chatLines(maxEventBytes = MAX_EVENT_BYTES): Dialect {
  let count = 0;
  return new Lines(maxEventBytes, (chunk) => ({ kind: "entry", offset: count++, chunk }));
}

/** The events route as NDJSON. */
export function eventLines(maxEventBytes = MAX_EVENT_BYTES): Dialect {
  return new Lines(maxEventBytes, ({ offset, chunk }) => entryItem(offset, chunk));
}

/** OpenAI's chat stream as SSE: what servers that are no Headrace send. */
export class ChatEvents implements Dialect {
  readonly #events: SSEDecoder;
  #count = 0;
  #finishReason: string | null = null;
  readonly #unfinished = new Set<number>();

  constructor(maxEventBytes = MAX_EVENT_BYTES) {
    this.#events = new SSEDecoder({ maxEventBytes });
  }

  receive(data: Uint8Array): Item[] {
    return gather((items) => this.#events.receive(data, (event) => items.push(this.#item(event.data))));
  }

  /** An answer whose every choice has a finish reason is whole without `[DONE]`. */
  receiveEnd(): Item[] {
    const isWhole = this.#finishReason !== null && this.#unfinished.size === 0;
    return isWhole ? [{ kind: "end", offset: null, ending: completed(this.#finishReason) }] : [];
  }

  #item(data: string): Item {
    if (data.startsWith(DONE)) return { kind: "end", offset: null, ending: completed(this.#finishReason) };
    const chunk = parseObject(data);
    if (chunk === null) return garbage(data);
    if (chunk.error && !chunk.choices) return errorItem(chunk.error);
    this.#noteFinish(chunk);
    return { kind: "entry", offset: this.#count++, chunk };
  }

  #noteFinish(chunk: ChatChunk): void {
    for (const { index, choice } of choicesOf(chunk)) {
      const reason = textOrNull(choice.finish_reason);
      if (reason === null) {
        this.#unfinished.add(index);
      } else {
        this.#unfinished.delete(index);
        if (index === 0 || this.#finishReason === null) this.#finishReason = reason;
      }
    }
  }
}

/** The events route as SSE. */
export class EventEvents implements Dialect {
  readonly #events: SSEDecoder;

  constructor(maxEventBytes = MAX_EVENT_BYTES) {
    this.#events = new SSEDecoder({ maxEventBytes });
  }

  receive(data: Uint8Array): Item[] {
    return gather((items) => this.#events.receive(data, (event) => items.push(this.#item(event))));
  }

  receiveEnd(): Item[] {
    return [];
  }

  #item({ event, data, id }: SSEEvent): Item {
    const fields = parseObject(data);
    const offset = /^[0-9]{1,15}$/.test(id) ? Number(id) : null;
    if (fields === null) return garbage(data);
    if (event === "end") return endItem(fields, offset) ?? garbage(data);
    if (isObject(fields.error) && !("choices" in fields)) return errorItem(fields.error);
    return entryItem(offset, fields) ?? garbage(data);
  }
}

/** The EventSource route, decoded from bytes. */
export class TokenEvents implements Dialect {
  readonly #events: SSEDecoder;

  constructor(maxEventBytes = MAX_EVENT_BYTES) {
    this.#events = new SSEDecoder({ maxEventBytes });
  }

  /** The id in force, which names the stream and the place in it; "" before the first. */
  get lastEventId(): string {
    return this.#events.lastEventId;
  }

  receive(data: Uint8Array): Item[] {
    return gather((items) => this.#events.receive(data, (event) => items.push(tokenItem(event))));
  }

  receiveEnd(): Item[] {
    return [];
  }
}

/** Returns what one event of the EventSource route says. Its text becomes a chunk, so that there is one kind of entry. */
export function tokenItem({ event, data, id }: SSEEvent): Item {
  const place = placeOf(id);
  if (event === "error") {
    const error = parseObject(data)?.error;
    return isObject(error) ? errorItem(error) : garbage(data);
  }
  if (data === DONE) return { kind: "end", offset: place?.offset ?? null, ending: completed(null) };
  const token = parseObject(data)?.token;
  if (typeof token !== "string" || place === null) return garbage(data);
  const choices = [{ index: 0, delta: { content: token }, finish_reason: null }];
  return { kind: "entry", offset: place.offset, chunk: { object: "chat.completion.chunk", choices } };
}

/** Returns the stream and the offset that an event id of the EventSource route names; null for none. */
export function placeOf(id: string): { streamId: string; offset: number } | null {
  const match = /^([A-Za-z0-9_-]{1,64}):(-1|[0-9]{1,15})$/.exec(id);
  return match?.[1] === undefined ? null : { streamId: match[1], offset: Number(match[2]) };
}

/** Returns the item of an error object, which may tell how its stream ended. */
export function errorItem(error: unknown): Item {
  return {
    kind: "unreadable",
    fault: faultOfError(isObject(error) ? error : null, null, null),
    ending: endingOf(error),
  };
}

/** Returns the item of an entry; null when its fields are not those of one. */
export function entryItem(offset: unknown, chunk: unknown): Item | null {
  return isOffset(offset) && offset >= 0 && isObject(chunk) ? { kind: "entry", offset, chunk } : null;
}

/** Returns the item of an end; null when its fields are not those of one. */
export function endItem(end: unknown, offset: unknown): Item | null {
  const ending = endingOf(end);
  return ending !== null && isOffset(offset) ? { kind: "end", offset, ending } : null;
}

/** Returns the item of what the protocol does not have. */
export function garbage(text: string): Item {
  const shown = JSON.stringify(text.slice(0, SHOWN));
  const fault = faultOf("protocol", `the server sent what the protocol does not have: ${shown}`);
  return { kind: "unreadable", fault, ending: null };
}
