/**
 * One WebSocket to a relay, which many streams share: `headrace.v1`, see docs/websocket.md.
 *
 * It opens when a stream wants it, and closes when none has for a while. When it breaks, every stream on it is told; the first
 * that comes back opens it again for all.
 */

import type { Clock } from "./clock.ts";
import { endItem, entryItem, errorItem, garbage, type Item } from "./dialects.ts";
import { type Failure, failureOfCode } from "./failure.ts";
import { type Fault, faultOf, faultOfError } from "./fault.ts";
import { brokenBy } from "./http.ts";
import { isObject, type JsonObject, parseObject } from "./json.ts";
import type { Sink } from "./line.ts";
import type { Breach } from "./session.ts";

const PROTOCOL = "headrace.v1";
/** How long a socket without streams stays open. */
const IDLE_MS = 30_000;
/** How long opening may take. */
const OPEN_MS = 5000;
/** How long a socket that could not be opened is not tried again. */
const REST_MS = 60_000;
/** WHATWG WebSockets 9.3.1: `readyState` of an open socket. */
const OPEN = 1;
/** The relay does not take the key. */
const UNAUTHORIZED = 4401;

/** The part of the platform's WebSocket that is used. */
export interface WebSocketLike {
  readonly readyState: number;
  readonly protocol: string;
  send(data: string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: string, listener: (event: Event) => void): void;
}

export type WebSocketMaker = (url: string, protocols: string[]) => WebSocketLike;

export interface SocketOptions {
  readonly url: string;
  readonly make: WebSocketMaker;
  readonly clock: Clock;
  /** Longest silence, in milliseconds: a third of it brings a ping, another third without an answer is the end. */
  readonly timeout: number;
}

interface Followed {
  readonly sink: Sink;
  hasHead: boolean;
  readonly end: (breach: Breach | null) => void;
}

export class Socket {
  /** Shown when the socket is opened; null for none. */
  key: string | null = null;
  readonly #options: SocketOptions;
  #socket: WebSocketLike | null = null;
  #opening: Promise<boolean> | null = null;
  #wasOpen = false;
  #restsUntil = 0;
  readonly #followed = new Map<string, Followed>();
  /** Streams that were detached from, until the relay has surely sent their last entry, by the id of the ping that tells. */
  readonly #leaving = new Map<string, number>();
  #pings = 0;
  #isQuiet = false;
  #isPinged = false;
  #callOffTick: (() => void) | null = null;
  #callOffIdle: (() => void) | null = null;

  constructor(options: SocketOptions) {
    this.#options = options;
  }

  /** False while a stream cannot be followed here: it is already, or the socket could not be opened just now. */
  isFreeFor(streamId: string): boolean {
    const isResting = !this.#wasOpen && this.#options.clock.now() < this.#restsUntil;
    return !isResting && !this.#followed.has(streamId) && !this.#leaving.has(streamId);
  }

  /**
   * Opens the socket, if it is not open.
   *
   * @returns Whether it is; `unavailable` when it is not, and never was.
   */
  async open(): Promise<boolean | "unavailable"> {
    if (this.#socket?.readyState === OPEN) return true;
    this.#opening ??= this.#connect().finally(() => {
      this.#opening = null;
    });
    const isOpen = await this.#opening;
    if (isOpen || this.#wasOpen) return isOpen;
    this.#restsUntil = this.#options.clock.now() + REST_MS;
    return "unavailable";
  }

  /** Follows a stream until the end, or a break; `message` starts or resumes it. */
  follow(message: JsonObject & { stream: string }, sink: Sink, signal: AbortSignal): Promise<Breach | null> {
    const { stream } = message;
    if (signal.aborted) return Promise.resolve(null);
    if (this.#socket?.readyState !== OPEN) return Promise.resolve(brokenBy("the connection broke"));
    return new Promise((resolve) => {
      const leave = (): void => this.#detach(stream);
      const end = (breach: Breach | null): void => {
        signal.removeEventListener("abort", leave);
        this.#followed.delete(stream);
        this.#watchIdle();
        resolve(breach);
      };
      signal.addEventListener("abort", leave);
      this.#followed.set(stream, { sink, hasHead: false, end });
      this.#callOffIdle?.();
      this.send(message);
    });
  }

  /** Sends a message, if the socket is open: what is lost with a connection is asked for again. */
  send(message: JsonObject): void {
    if (this.#socket?.readyState === OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** Stops the engine of a stream that is followed here; its end still comes. */
  stop(stream: string): void {
    if (this.#followed.has(stream)) this.send({ type: "stop", stream });
  }

  /** Allows more entries of a stream that is followed here. */
  grant(stream: string, credit: number): void {
    if (credit > 0 && this.#followed.has(stream)) this.send({ type: "credit", stream, credit });
  }

  /** Closes the connection; its streams are as after a break. */
  close(): void {
    this.#callOffIdle?.();
    this.#socket?.close(1000);
  }

  // --- the connection

  #connect(): Promise<boolean> {
    const { url, make, clock } = this.#options;
    return new Promise((resolve) => {
      let socket: WebSocketLike;
      try {
        socket = make(url, [PROTOCOL]);
      } catch {
        resolve(false);
        return;
      }
      this.#socket = socket;
      const callOff = clock.after(OPEN_MS, () => fail(1006, `it did not open in ${OPEN_MS / 1000} s`));
      let isOver = false;
      const fail = (code: number, reason: string): void => {
        if (isOver) return;
        isOver = true;
        callOff();
        resolve(false);
        if (this.#socket === socket) this.#lose(code, reason);
        socket.close();
      };
      socket.addEventListener("open", () => {
        callOff();
        if (socket.protocol === PROTOCOL) resolve(this.#begin());
        else fail(1006, "the server speaks another protocol");
      });
      socket.addEventListener("message", (event) => this.#receive("data" in event ? String(event.data) : ""));
      socket.addEventListener("close", (event) => fail(...closeOf(event)));
      // The standard has a close event behind each error; Node 20 has none when a socket cannot be opened.
      socket.addEventListener("error", () => this.#opening !== null && fail(1006, "it could not be opened"));
    });
  }

  #begin(): true {
    this.#wasOpen = true;
    if (this.key !== null) this.send({ type: "auth", key: this.key });
    this.#tick();
    return true;
  }

  #lose(code: number, reason: string): void {
    this.#socket = null;
    this.#callOffTick?.();
    this.#leaving.clear();
    const breach = breachOfClose(code, reason);
    for (const followed of [...this.#followed.values()]) followed.end(breach);
  }

  /** Looks a few times in each `timeout` whether the other side lives; asks when it says nothing. Sleep of the device is no silence. */
  #tick(): void {
    this.#isQuiet = false;
    this.#isPinged = false;
    const look = (): void => {
      if (this.#isQuiet && this.#isPinged) {
        this.#drop();
        return;
      }
      if (this.#isQuiet) {
        this.#isPinged = true;
        this.send({ type: "ping", id: 0 });
      }
      this.#isQuiet = true;
      this.#callOffTick = this.#options.clock.after(this.#options.timeout / 3, look);
    };
    look();
  }

  /** Gives up a connection that is silent. Its own close would wait for the other side. */
  #drop(): void {
    const socket = this.#socket;
    this.#lose(1006, `nothing came for ${this.#options.timeout / 1000} s`);
    socket?.close();
  }

  #watchIdle(): void {
    this.#callOffIdle?.();
    if (this.#followed.size > 0) return;
    this.#callOffIdle = this.#options.clock.after(IDLE_MS, () => {
      if (this.#followed.size === 0) this.#socket?.close(1000);
    });
  }

  /** Lets go of one stream. What is on its way is ignored, until a pong says that nothing more is. */
  #detach(stream: string): void {
    const followed = this.#followed.get(stream);
    if (followed === undefined) return;
    this.#pings += 1;
    this.#leaving.set(stream, this.#pings);
    this.send({ type: "detach", stream });
    this.send({ type: "ping", id: this.#pings });
    followed.end(null);
  }

  // --- what comes

  #receive(text: string): void {
    this.#isQuiet = false;
    this.#isPinged = false;
    const message = parseObject(text);
    if (message?.type === "pong") {
      for (const [stream, id] of this.#leaving) if (id === message.id) this.#leaving.delete(stream);
      return;
    }
    const stream = message?.stream;
    const followed = typeof stream === "string" ? this.#followed.get(stream) : undefined;
    if (message === null || typeof stream !== "string" || followed === undefined) return;
    if (message.type === "error" && !followed.hasHead) {
      followed.end(breachOfError(message.error));
      return;
    }
    this.#deliver(stream, followed, itemOf(message) ?? garbage(text), text.length);
  }

  #deliver(stream: string, followed: Followed, item: Item, bytes: number): void {
    const { sink } = followed;
    if (!followed.hasHead) {
      followed.hasHead = true;
      sink.head(stream);
    }
    sink.life();
    sink.take([item], bytes);
    if (!sink.isOver) return;
    if (item.kind === "end") followed.end(null);
    else this.#detach(stream);
  }
}

function itemOf(message: JsonObject): Item | null {
  switch (message.type) {
    case "entry":
      return entryItem(message.offset, message.chunk);
    case "end":
      return endItem(message.end, message.offset);
    case "error":
      return errorItem(message.error);
    default:
      return null;
  }
}

/** What was asked for a stream cannot be done. The messages have no HTTP status, so its code tells. */
function breachOfError(error: unknown): Breach {
  const told = isObject(error) ? error : null;
  const fault = faultOfError(told, null, null);
  const isRejected = fault.kind === "engine" || fault.code === null;
  return {
    failure: failureOfCode(fault.code),
    fault: isRejected ? { ...fault, kind: kindOfType(told?.type) } : fault,
  };
}

function kindOfType(type: unknown): Fault["kind"] {
  return type === "server_error" ? "relay" : type === "upstream_error" ? "engine" : "request";
}

/** Returns code and reason of a CloseEvent; 1006 is the platform's word for a connection that broke (RFC 6455 7.4.1). */
function closeOf(event: Event): [number, string] {
  const code = "code" in event && typeof event.code === "number" ? event.code : 1006;
  return [code, "reason" in event ? String(event.reason) : ""];
}

function breachOfClose(code: number, reason: string): Breach {
  const message = reason || `the connection was closed (${code})`;
  if (code !== UNAUTHORIZED) return brokenBy(message);
  const failure: Failure = "refused";
  return { failure, fault: { ...faultOf("request", message), code: "invalid_api_key", status: 401 } };
}
