/**
 * A stream over the EventSource route: a prompt in the URL, text out.
 *
 * The browser's EventSource is used where there is one. It knows less than `fetch`: it sees neither heartbeats nor the status of
 * a refusal, and cannot be slowed. So what it cannot do goes on over `fetch`, in the same dialect and behind the same event:
 * everything where there is no EventSource, as in Node, what follows a refusal, and what follows a page that reads too slowly.
 */

import { type Dialect, type Item, placeOf, SSE, TokenEvents, tokenItem } from "./dialects.ts";
import { completed } from "./ending.ts";
import { mediaTypeOf } from "./fetch-line.ts";
import { brokenBy, type Exchange, followAnswer } from "./http.ts";
import { isObject } from "./json.ts";
import type { Call, Line, Sink } from "./line.ts";
import type { Ask } from "./messages.ts";
import type { Breach } from "./session.ts";

/** The part of the platform's EventSource that is used. */
export interface EventSourceLike {
  readonly readyState: number;
  close(): void;
  addEventListener(type: string, listener: (event: Event) => void): void;
}

export type EventSourceMaker = (url: string) => EventSourceLike;

/** WHATWG HTML 9.2.2: `readyState` of an EventSource that will not come back. */
const CLOSED = 2;

export class EventSourceLine implements Line {
  readonly #ask: Ask;
  readonly #exchange: Exchange;
  #make: EventSourceMaker | null;
  #source: EventSourceLike | null = null;
  #lastEventId = "";
  #sink: Sink | null = null;
  #hasHead = false;
  #resolve: (breach: Breach | null) => void = () => {};

  constructor(ask: Ask, exchange: Exchange, make: EventSourceMaker | null) {
    this.#ask = ask;
    this.#exchange = exchange;
    this.#make = make;
  }

  async follow(_call: Call, sink: Sink, signal: AbortSignal): Promise<Breach | null> {
    const make = this.#make;
    if (make === null) return this.#followAnswer(sink, signal);
    const source = this.#source ?? (await this.#open(make, signal));
    if (source === null) return brokenBy("there is no ticket to be had");
    return this.#followSource(source, sink, signal);
  }

  // --- over the platform's EventSource

  /** A key must not stand in a URL; a ticket is worth one stream. */
  async #open(make: EventSourceMaker, signal: AbortSignal): Promise<EventSourceLike | null> {
    const url = new URL(this.#ask.url);
    if (this.#ask.key !== null) {
      const ticket = await this.#ticket(signal);
      if (ticket === null) return null;
      url.searchParams.set("ticket", ticket);
    }
    this.#source = make(url.href);
    this.#listen(this.#source);
    return this.#source;
  }

  async #ticket(signal: AbortSignal): Promise<string | null> {
    const { fetch } = this.#exchange;
    const answer = await fetch(`${this.#ask.root}/v1/tickets`, {
      method: "POST",
      headers: { ...this.#ask.headers, "Content-Type": "application/json" },
      body: "{}",
      signal,
    });
    const body: unknown = answer.ok ? await answer.json() : null;
    return isObject(body) && typeof body.ticket === "string" ? body.ticket : null;
  }

  /** Follows until the connection breaks, which the source then mends by itself while the session waits. */
  #followSource(source: EventSourceLike, sink: Sink, signal: AbortSignal): Promise<Breach | null> {
    return new Promise((resolve) => {
      const leave = (): void => this.#end(null);
      this.#sink = sink;
      this.#resolve = (breach) => {
        signal.removeEventListener("abort", leave);
        resolve(breach);
      };
      signal.addEventListener("abort", leave);
      if (signal.aborted) leave();
      else if (source.readyState === CLOSED) this.#end(brokenBy("the EventSource was refused"));
    });
  }

  #listen(source: EventSourceLike): void {
    source.addEventListener("open", () => {
      this.#hasHead = false;
    });
    source.addEventListener("message", (event) => this.#receive(event, "message"));
    source.addEventListener("error", (event) => {
      // With data it is the relay's word, without it the platform's.
      if ("data" in event && typeof event.data === "string") this.#receive(event, "error");
      else if (source.readyState === CLOSED) this.#end(brokenBy("the EventSource was refused"));
      else this.#resolve(brokenBy("the connection broke"));
    });
  }

  #receive(message: Event, event: string): void {
    const sink = this.#sink;
    // Given up: what follows comes over fetch.
    if (this.#make === null) return;
    const data = "data" in message ? String(message.data) : "";
    if ("lastEventId" in message && message.lastEventId !== "") this.#lastEventId = String(message.lastEventId);
    const streamId = placeOf(this.#lastEventId)?.streamId;
    if (sink === null) return;
    if (!this.#hasHead && streamId !== undefined) sink.head(streamId);
    this.#hasHead = true;
    sink.life();
    sink.take([tokenItem({ event, data, id: this.#lastEventId })], data.length);
    if (sink.isOver) this.#end(null);
    else if (sink.free === 0) this.#end(brokenBy("an EventSource cannot be slowed"));
  }

  /** Gives the source up; what follows comes over `fetch`. */
  #end(breach: Breach | null): void {
    this.#source?.close();
    this.#make = null;
    this.#resolve(breach);
  }

  // --- over fetch

  #followAnswer(sink: Sink, signal: AbortSignal): Promise<Breach | null> {
    const headers: Record<string, string> = { ...this.#ask.headers, Accept: SSE };
    if (this.#lastEventId !== "") headers["Last-Event-ID"] = this.#lastEventId;
    const request = { url: this.#ask.url, init: { method: "GET", headers } };
    const opening = (response: Response): Dialect | null => this.#dialectOf(response, sink);
    return followAnswer(this.#exchange, request, opening, sink, signal);
  }

  #dialectOf(response: Response, sink: Sink): Dialect | null {
    const name = response.headers.get("headrace-stream-id") ?? placeOf(this.#lastEventId)?.streamId ?? null;
    // To a reconnect behind the end: there is nothing more.
    if (response.status === 204 && this.#lastEventId !== "") {
      sink.head(name);
      const item: Item = { kind: "end", offset: null, ending: completed(null) };
      return { receive: () => [], receiveEnd: () => [item] };
    }
    if (response.status !== 200 || mediaTypeOf(response) !== SSE) return null;
    if (name !== null) sink.head(name);
    const tokens = new TokenEvents();
    let hasHead = name !== null;
    return {
      receive: (data) => {
        const items = tokens.receive(data);
        this.#lastEventId = tokens.lastEventId || this.#lastEventId;
        const streamId = placeOf(this.#lastEventId)?.streamId;
        if (!hasHead && streamId !== undefined) {
          hasHead = true;
          sink.head(streamId);
        }
        return items;
      },
      receiveEnd: () => tokens.receiveEnd(),
    };
  }
}
