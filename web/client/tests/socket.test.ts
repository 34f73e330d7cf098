/** The WebSocket transport, against a relay that the test plays. */

import { describe, expect, test } from "vitest";
import { Host } from "../src/host.ts";
import type { JsonObject } from "../src/json.ts";
import { parseObject } from "../src/json.ts";
import type { Ask, ToHost, ToPage } from "../src/messages.ts";
import { portPair } from "../src/port.ts";
import { FakeClock, FakeNetwork, settled, textChunk } from "./fakes.ts";

class FakeSocket extends EventTarget {
  readyState = 0;
  protocol = "";
  readonly sent: JsonObject[] = [];

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    super();
  }

  send(data: string): void {
    this.sent.push(parseObject(data) ?? expect.fail("no JSON was sent"));
  }

  close(code = 1005): void {
    this.lose(code);
  }

  open(protocol = "headrace.v1"): void {
    this.readyState = 1;
    this.protocol = protocol;
    this.dispatchEvent(new Event("open"));
  }

  say(message: unknown): void {
    this.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify(message) }));
  }

  lose(code = 1006, reason = ""): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
  }

  ofType(type: string): JsonObject[] {
    return this.sent.filter((message) => message.type === type);
  }
}

const ASK: Ask = {
  payload: { messages: [] },
  url: "http://relay/v1/chat/completions",
  root: "http://relay",
  streamId: "s1",
  after: -1,
  merge: false,
  linger: 30,
  format: "ndjson",
  transport: "websocket",
  headers: {},
  key: null,
  patience: { timeout: 30_000, retryAttempts: 2, retryDelay: 800, resumeFor: 60_000 },
  maxBufferSize: 5,
};

class Bench {
  readonly clock = new FakeClock();
  readonly sockets: FakeSocket[] = [];
  readonly fetched: string[] = [];
  readonly told: ToPage[] = [];
  readonly #page = portPair<ToPage, ToHost>();

  constructor() {
    const [page, far] = this.#page;
    page.onMessage = (message) => this.told.push(message);
    new Host(far, {
      fetch: (url) => {
        this.fetched.push(url);
        return Promise.reject(new TypeError("Failed to fetch"));
      },
      webSocket: (url, protocols) => {
        const socket = new FakeSocket(url, protocols);
        this.sockets.push(socket);
        return socket;
      },
      eventSource: null,
      clock: this.clock,
      network: new FakeNetwork(),
      random: () => 0.5,
    });
  }

  get socket(): FakeSocket {
    return this.sockets.at(-1) ?? expect.fail("no socket was made");
  }

  async tell(...messages: ToHost[]): Promise<void> {
    for (const message of messages) this.#page[0].post(message);
    await settled();
  }

  async open(id: number, over: Partial<Ask> = {}): Promise<void> {
    await this.tell({ type: "open", id, ask: { ...ASK, ...over } });
  }

  entry(stream: string, offset: number, text = "x"): void {
    this.socket.say({ type: "entry", stream, offset, chunk: textChunk(text) });
  }

  end(stream: string, offset: number, state = "completed", cause = "stop"): void {
    this.socket.say({ type: "end", stream, offset, end: { state, cause, finish_reason: null, usage: null } });
  }

  outcomes(): (readonly [number, string | undefined])[] {
    return this.told.flatMap((each) => (each.type === "end" ? [[each.id, each.outcome.ending?.state] as const] : []));
  }
}

test("many streams share one connection", async () => {
  const bench = new Bench();
  await bench.open(1);
  bench.socket.open();
  await settled();
  await bench.open(2, { streamId: "s2" });
  await bench.open(3, { streamId: "s3", payload: null, after: 7 });
  expect(bench.sockets).toHaveLength(1);
  expect([bench.socket.url, bench.socket.protocols]).toEqual(["ws://relay/v1/stream", ["headrace.v1"]]);
  expect(bench.socket.sent).toEqual([
    { type: "start", stream: "s1", credit: 5, linger: 30, merge: false, request: { messages: [] } },
    { type: "start", stream: "s2", credit: 5, linger: 30, merge: false, request: { messages: [] } },
    { type: "resume", stream: "s3", credit: 5, after: 7, merge: false },
  ]);
  bench.entry("s2", 0);
  bench.end("s2", 1);
  bench.end("s1", 0);
  await bench.tell({ type: "credit", id: 2, paceMs: 0 });
  expect(new Map(bench.outcomes())).toEqual(
    new Map([
      [1, "completed"],
      [2, "completed"],
    ]),
  );
});

test("the key goes first", async () => {
  const bench = new Bench();
  await bench.open(1, { key: "sk" });
  bench.socket.open();
  await settled();
  expect(bench.socket.sent.map(({ type }) => type)).toEqual(["auth", "start"]);
  expect(bench.socket.sent[0]).toEqual({ type: "auth", key: "sk" });
});

test("what the page has taken is granted again, and no more", async () => {
  const bench = new Bench();
  await bench.open(1);
  bench.socket.open();
  await settled();
  for (let offset = 0; offset < 5; offset++) bench.entry("s1", offset);
  expect(bench.socket.ofType("credit")).toEqual([]);
  await bench.tell({ type: "credit", id: 1, paceMs: 0 });
  expect(bench.socket.ofType("credit")).toEqual([{ type: "credit", stream: "s1", credit: 5 }]);
});

describe("a break", () => {
  test("is one for all: the socket opens once, and each stream goes on behind its own offset", async () => {
    const bench = new Bench();
    await bench.open(1);
    bench.socket.open();
    await settled();
    await bench.open(2, { streamId: "s2" });
    bench.entry("s1", 0);
    bench.entry("s2", 0);
    bench.entry("s2", 1);
    bench.socket.lose();
    await bench.clock.advance(400);
    expect(bench.sockets).toHaveLength(2);
    bench.socket.open();
    await settled();
    expect(bench.socket.sent.map(({ type, stream, after }) => [type, stream, after])).toEqual([
      ["resume", "s1", 0],
      ["resume", "s2", 1],
    ]);
    // What waits for the page still counts: s2 holds two entries of five.
    expect(bench.socket.sent.map(({ credit }) => credit)).toEqual([4, 3]);
  });

  test("before the relay knew the stream: it is started again", async () => {
    const bench = new Bench();
    await bench.open(1);
    bench.socket.open();
    await settled();
    bench.socket.lose();
    await bench.clock.advance(400);
    bench.socket.open();
    await settled();
    bench.socket.say({
      type: "error",
      stream: "s1",
      error: { message: "none", type: "invalid_request_error", code: "stream_not_found" },
    });
    await bench.clock.advance(1600);
    expect(bench.socket.sent.map(({ type }) => type)).toEqual(["resume", "start"]);
  });

  test("is noticed by silence after a ping", async () => {
    const bench = new Bench();
    await bench.open(1);
    bench.socket.open();
    await settled();
    const [first] = bench.sockets;
    await bench.clock.advance(10_000);
    expect(first?.ofType("ping")).toHaveLength(1);
    first?.say({ type: "pong", id: 0 });
    await bench.clock.advance(29_999);
    expect(first?.readyState).toBe(1);
    await bench.clock.advance(1);
    expect(first?.readyState).toBe(3);
  });
});

test("a socket that cannot be opened makes way for fetch", async () => {
  const bench = new Bench();
  await bench.open(1);
  bench.socket.lose();
  await settled();
  expect(bench.fetched).toEqual(["http://relay/v1/chat/completions"]);
  await bench.open(2, { streamId: "s2" });
  expect(bench.sockets).toHaveLength(1);
  expect(bench.fetched.filter((url) => url.endsWith("completions"))).toHaveLength(2);
});

test("one that says so by an error alone does, too, and so does one that says nothing", async () => {
  for (const happens of ["error", "silence"]) {
    const bench = new Bench();
    await bench.open(1);
    if (happens === "error") bench.socket.dispatchEvent(new Event("error"));
    await bench.clock.advance(happens === "error" ? 0 : 5000);
    expect(bench.fetched).toHaveLength(1);
  }
});

test("a server that speaks another protocol makes way for fetch", async () => {
  const bench = new Bench();
  await bench.open(1);
  bench.socket.open("");
  await settled();
  expect(bench.fetched).toHaveLength(1);
});

test("a key that is refused is told, and not tried again", async () => {
  const bench = new Bench();
  await bench.open(1, { key: "wrong" });
  bench.socket.open();
  await settled();
  bench.socket.lose(4401, "no such key");
  await settled();
  const [end] = bench.told.filter((each) => each.type === "end");
  expect(end).toMatchObject({ outcome: { fault: { kind: "request", status: 401, code: "invalid_api_key" } } });
});

test("a request that is refused fails", async () => {
  const bench = new Bench();
  await bench.open(1);
  bench.socket.open();
  await settled();
  bench.socket.say({
    type: "error",
    stream: "s1",
    error: { message: "bad", type: "invalid_request_error", code: null },
  });
  await settled();
  const [end] = bench.told.filter((each) => each.type === "end");
  expect(end).toMatchObject({ outcome: { ending: { state: "failed" }, fault: { kind: "request", message: "bad" } } });
});

test("a stream that is followed already is followed over fetch: twice on one connection would close it", async () => {
  const bench = new Bench();
  await bench.open(1);
  bench.socket.open();
  await settled();
  await bench.open(2, { payload: null });
  expect(bench.socket.ofType("resume")).toEqual([]);
  expect(bench.fetched).toEqual(["http://relay/v1/streams/s1/events?after=-1"]);
});

test("a detached stream is told, and what was on its way is ignored until the pong", async () => {
  const bench = new Bench();
  await bench.open(1);
  bench.socket.open();
  await settled();
  await bench.tell({ type: "detach", id: 1 });
  expect(bench.socket.sent.slice(1).map(({ type }) => type)).toEqual(["detach", "ping"]);
  bench.entry("s1", 0);
  await bench.open(2, { payload: null });
  expect(bench.socket.ofType("resume")).toEqual([]);
  bench.socket.say({ type: "pong", id: bench.socket.ofType("ping")[0]?.id });
  await bench.open(3, { payload: null });
  expect(bench.socket.ofType("resume")).toHaveLength(1);
});

describe("a stop", () => {
  test("goes over the socket, and the end still comes", async () => {
    const bench = new Bench();
    await bench.open(1);
    bench.socket.open();
    await settled();
    await bench.tell({ type: "stop", id: 1 });
    expect(bench.socket.ofType("stop")).toEqual([{ type: "stop", stream: "s1" }]);
    bench.end("s1", 0, "cancelled", "client_stop");
    await settled();
    expect(bench.outcomes()).toEqual([[1, "cancelled"]]);
  });

  test("before the socket is open follows the start", async () => {
    const bench = new Bench();
    await bench.open(1);
    await bench.tell({ type: "stop", id: 1 });
    bench.socket.open();
    await settled();
    expect(bench.socket.sent.map(({ type }) => type)).toEqual(["start", "stop"]);
  });
});

test("a socket without streams closes after a while", async () => {
  const bench = new Bench();
  await bench.open(1);
  bench.socket.open();
  await settled();
  bench.end("s1", 0);
  await bench.clock.advance(5000);
  expect(bench.socket.readyState).toBe(1);
  for (let count = 0; count < 5; count++) {
    bench.socket.say({ type: "pong", id: 0 });
    await bench.clock.advance(6000);
  }
  expect(bench.socket.readyState).toBe(3);
});
