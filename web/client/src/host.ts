/** All streams of one client, where the network is: in the Worker, or on the page's own thread. */

import { socketURL, streamURL } from "./address.ts";
import type { Clock } from "./clock.ts";
import { EventSourceLine, type EventSourceMaker } from "./eventsource-line.ts";
import { FetchLine } from "./fetch-line.ts";
import { Follower, type NamedLine } from "./follower.ts";
import type { Exchange, Fetch } from "./http.ts";
import type { Ask, ToHost, ToPage } from "./messages.ts";
import type { Network } from "./network.ts";
import type { Port } from "./port.ts";
import { Session } from "./session.ts";
import { Socket, type WebSocketMaker } from "./socket.ts";
import { SocketLine } from "./socket-line.ts";

/** What the platform gives; null for what it does not have. */
export interface Platform {
  readonly fetch: Fetch;
  readonly webSocket: WebSocketMaker | null;
  readonly eventSource: EventSourceMaker | null;
  readonly clock: Clock;
  readonly network: Network;
  readonly random: () => number;
}

export class Host {
  readonly #platform: Platform;
  readonly #port: Port<ToHost, ToPage>;
  readonly #followers = new Map<number, Follower>();
  /** By root; a handful at most, since a client has one relay. */
  readonly #sockets = new Map<string, Socket>();

  constructor(port: Port<ToHost, ToPage>, platform: Platform) {
    this.#port = port;
    this.#platform = platform;
    port.onMessage = (message) => this.#receive(message);
    port.post({ type: "ready" });
  }

  /** Leaves all streams. */
  close(): void {
    for (const follower of this.#followers.values()) follower.leave();
    this.#followers.clear();
    for (const socket of this.#sockets.values()) socket.close();
    this.#port.close();
  }

  #receive(message: ToHost): void {
    if (message.type === "open") {
      this.#open(message.id, message.ask);
      return;
    }
    const follower = this.#followers.get(message.id);
    switch (message.type) {
      case "credit":
        follower?.grant(message.paceMs);
        break;
      case "stop":
        follower?.stop();
        break;
      case "told":
        follower?.confirmStop();
        break;
      case "detach":
        follower?.leave();
        this.#followers.delete(message.id);
        break;
    }
  }

  #open(id: number, ask: Ask): void {
    const { clock, network } = this.#platform;
    const session = this.#session(ask);
    const follower = new Follower({
      session,
      lines: this.#lines(ask),
      maxBufferSize: ask.maxBufferSize,
      isStart: ask.payload !== null,
      clock,
      network,
      tell: {
        head: (streamId, transport) => this.#port.post({ type: "head", id, streamId, transport }),
        status: (status) => this.#port.post({ type: "status", id, status }),
        batch: (entries) => this.#port.post({ type: "batch", id, entries }),
        end: (outcome) => {
          this.#followers.delete(id);
          this.#port.post({ type: "end", id, outcome });
        },
      },
    });
    this.#followers.set(id, follower);
    void follower.run().then(() => this.#stopUnread(ask, session));
  }

  /** A stream of ours that can no longer be read is nobody's: its engine shall not run on. */
  #stopUnread(ask: Ask, session: Session): void {
    const { fault, streamId } = session.outcome();
    if (ask.payload === null || fault === null || streamId === null || !session.mayRun) return;
    const init = { method: "POST", headers: { ...ask.headers }, keepalive: true };
    // When the relay cannot be told, the engine stops once it has lingered.
    this.#platform.fetch(streamURL(ask.root, streamId, "/cancel"), init).catch(() => {});
  }

  #session(ask: Ask): Session {
    const { clock, random, network } = this.#platform;
    return new Session({
      isStart: ask.payload !== null,
      streamId: ask.streamId,
      after: ask.after,
      isMerged: ask.merge || ask.transport === "eventsource",
      patience: ask.patience,
      clock,
      random,
      isOnline: () => network.isOnline(),
    });
  }

  #lines(ask: Ask): NamedLine[] {
    const { fetch, clock, webSocket, eventSource } = this.#platform;
    const exchange: Exchange = { fetch, clock, timeout: ask.patience.timeout };
    const { streamId } = ask;
    if (ask.transport === "eventsource" && ask.payload !== null) {
      return [{ name: "eventsource", line: new EventSourceLine(ask, exchange, eventSource) }];
    }
    const overHttp: NamedLine = { name: "fetch", line: new FetchLine(ask, exchange) };
    if (ask.transport !== "websocket" || webSocket === null || streamId === null) return [overHttp];
    const line = new SocketLine({ ...ask, streamId }, this.#socket(ask, webSocket));
    return [{ name: "websocket", line }, overHttp];
  }

  #socket(ask: Ask, make: WebSocketMaker): Socket {
    const { clock } = this.#platform;
    const { timeout } = ask.patience;
    const socket = this.#sockets.get(ask.root) ?? new Socket({ url: socketURL(ask.root), make, clock, timeout });
    // Keys may be short-lived: whatever connects next shows the newest.
    socket.key = ask.key;
    this.#sockets.set(ask.root, socket);
    return socket;
  }
}
