/** A stream over the WebSocket that all streams of a client share. */

import { brokenBy } from "./http.ts";
import type { JsonObject } from "./json.ts";
import type { Call, Line, Sink } from "./line.ts";
import type { Ask } from "./messages.ts";
import type { Breach } from "./session.ts";
import type { Socket } from "./socket.ts";

export class SocketLine implements Line {
  readonly #ask: Ask & { streamId: string };
  readonly #socket: Socket;
  #isStopped = false;

  constructor(ask: Ask & { streamId: string }, socket: Socket) {
    this.#ask = ask;
    this.#socket = socket;
  }

  async follow(call: Call, sink: Sink, signal: AbortSignal): Promise<Breach | "unavailable" | null> {
    // A stream can be followed once on a connection; whoever comes second takes another way.
    if (!this.#socket.isFreeFor(this.#ask.streamId)) return "unavailable";
    const isOpen = await this.#socket.open();
    if (isOpen === "unavailable" || !this.#socket.isFreeFor(this.#ask.streamId)) return "unavailable";
    if (!isOpen) return brokenBy("the WebSocket could not be opened");
    const followed = this.#socket.follow(this.#message(call, sink.free), sink, signal);
    // The relay may not have been told: the stop came before this, or the connection broke under it.
    if (this.#isStopped) this.stop();
    return followed;
  }

  stop(): void {
    this.#isStopped = true;
    this.#socket.stop(this.#ask.streamId);
  }

  drained(entries: number): void {
    this.#socket.grant(this.#ask.streamId, entries);
  }

  #message(call: Call, credit: number): JsonObject & { stream: string } {
    const { streamId: stream, payload, linger, merge } = this.#ask;
    if (call.do === "start") return { type: "start", stream, credit, linger, merge: false, request: payload };
    return { type: "resume", stream, credit, after: call.after, merge };
  }
}
