/** A stream over `fetch`: the chat routes and the events route, as lines or as SSE. */

import { streamURL } from "./address.ts";
import { ChatEvents, chatLines, type Dialect, EventEvents, eventLines, NDJSON, SSE } from "./dialects.ts";
import { type Exchange, followAnswer } from "./http.ts";
import type { Call, Line, Sink } from "./line.ts";
import type { Ask } from "./messages.ts";
import type { Breach } from "./session.ts";

export class FetchLine implements Line {
  readonly #ask: Ask;
  readonly #exchange: Exchange;
  #streamId: string | null;
  #isHeadrace: boolean;

  constructor(ask: Ask, exchange: Exchange) {
    this.#ask = ask;
    this.#exchange = exchange;
    this.#streamId = ask.streamId;
    this.#isHeadrace = ask.payload === null;
  }

  follow(call: Call, sink: Sink, signal: AbortSignal): Promise<Breach | null> {
    const isStart = call.do === "start";
    const request = isStart ? this.#startRequest(call.bare) : this.#eventsRequest(call.after);
    const opening = (response: Response): Dialect | null => {
      const dialect = dialectOf(response, isStart);
      if (dialect === null) return null;
      const streamId = response.headers.get("headrace-stream-id");
      if (isStart) this.#streamId = streamId;
      this.#isHeadrace ||= streamId !== null;
      sink.head(isStart ? streamId : this.#streamId);
      return dialect;
    };
    return followAnswer(this.#exchange, request, opening, sink, signal);
  }

  #startRequest(bare: boolean): { url: string; init: RequestInit } {
    const { url, payload, headers, streamId, linger } = this.#ask;
    const own: Record<string, string> = {};
    if (!bare && streamId !== null) {
      own["Headrace-Stream-Id"] = streamId;
      own["Headrace-Linger"] = String(linger);
      // A relay may be set to merge entries for everybody; then lines could not be counted.
      own["Headrace-Merge"] = "false";
    }
    const all = { ...headers, "Content-Type": "application/json", Accept: this.#accept(), ...own };
    return { url, init: { method: "POST", headers: all, body: JSON.stringify(payload) } };
  }

  #eventsRequest(after: number): { url: string; init: RequestInit } {
    const { root, headers, merge } = this.#ask;
    const url = streamURL(root, this.#streamId ?? "", `/events?after=${after}`);
    // Before it is known that the server is a Headrace, nothing may stand here that a foreign server's CORS rules refuse.
    const own = { Accept: this.#accept(), ...(this.#isHeadrace ? { "Headrace-Merge": String(merge) } : {}) };
    return { url, init: { method: "GET", headers: { ...headers, ...own } } };
  }

  #accept(): string {
    return this.#ask.format === "sse" ? SSE : NDJSON;
  }
}

function dialectOf(response: Response, isStart: boolean): Dialect | null {
  if (response.status !== 200) return null;
  switch (mediaTypeOf(response)) {
    case NDJSON:
    case "application/ndjson":
      return isStart ? chatLines() : eventLines();
    case SSE:
      return isStart ? new ChatEvents() : new EventEvents();
    default:
      return null;
  }
}

/** Returns the media type of an answer, without its parameters. */
export function mediaTypeOf(response: Response): string {
  return (response.headers.get("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
}
