/** The Worker's side, over a port and a `fetch` that the test holds in its hands. */

import { describe, expect, test } from "vitest";
import { Host } from "../src/host.ts";
import type { Ask, ToHost, ToPage } from "../src/messages.ts";
import type { Port } from "../src/port.ts";
import { FakeClock, FakeNetwork, settled, textChunk } from "./fakes.ts";

const utf8 = new TextEncoder();

class FakePort implements Port<ToHost, ToPage> {
  onMessage: (message: ToHost) => void = () => {};
  readonly told: ToPage[] = [];

  post(message: ToPage): void {
    // What cannot be posted to a Worker fails here.
    this.told.push(structuredClone(message));
  }

  close(): void {}

  tell(message: ToHost): void {
    this.onMessage(structuredClone(message));
  }

  ofType<T extends ToPage["type"]>(type: T): (ToPage & { type: T })[] {
    return this.told.filter((message): message is ToPage & { type: T } => message.type === type);
  }
}

/** Answers requests with bodies that give a piece each time they are asked for one. */
class FakeServer {
  readonly requests: { url: string; init: RequestInit }[] = [];
  /** Pieces that were taken of the newest body. */
  reads = 0;
  readonly #answers: ((signal: AbortSignal | null | undefined) => Response | Promise<Response>)[] = [];

  readonly fetch = async (url: string, init: RequestInit): Promise<Response> => {
    this.requests.push({ url, init });
    const answer = this.#answers.shift() ?? (() => Promise.reject(new TypeError("Failed to fetch")));
    const response = await Promise.race([
      Promise.resolve(answer(init.signal)),
      new Promise<never>((_, reject) => init.signal?.addEventListener("abort", () => reject(init.signal?.reason))),
    ]);
    return response;
  };

  stream(pieces: readonly string[], ending: "close" | "hang" | "break" = "close"): void {
    this.#answers.push((signal) => {
      const left = [...pieces];
      this.reads = 0;
      const body = new ReadableStream<Uint8Array>(
        {
          // As fetch does (Fetch standard 5.6): aborting breaks the body, too.
          start: (controller) => signal?.addEventListener("abort", () => controller.error(signal.reason)),
          pull: (controller) => {
            const piece = left.shift();
            if (piece !== undefined) {
              this.reads += 1;
              controller.enqueue(utf8.encode(piece));
            } else if (ending === "close") controller.close();
            else if (ending === "break") controller.error(new TypeError("network error"));
            else return new Promise(() => {});
          },
        },
        { highWaterMark: 0 },
      );
      const headers = { "Content-Type": "application/x-ndjson", "Headrace-Stream-Id": "s1" };
      return new Response(body, { status: 200, headers });
    });
  }

  silence(): void {
    this.#answers.push(() => new Promise(() => {}));
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
  transport: "fetch",
  headers: {},
  key: null,
  patience: { timeout: 30_000, retryAttempts: 2, retryDelay: 800, resumeFor: 60_000 },
  maxBufferSize: 5,
};

function line(text: string): string {
  return `${JSON.stringify(textChunk(text))}\n`;
}

function end(offset: number, state = "completed", cause = "stop"): string {
  return `${JSON.stringify({ offset, end: { state, cause, finish_reason: null, usage: null } })}\n`;
}

function setUp(): { port: FakePort; server: FakeServer; clock: FakeClock; network: FakeNetwork } {
  const port = new FakePort();
  const server = new FakeServer();
  const clock = new FakeClock();
  const network = new FakeNetwork();
  const platform = { fetch: server.fetch, webSocket: null, eventSource: null, clock, network, random: () => 0.5 };
  new Host(port, platform);
  return { port, server, clock, network };
}

function textOf(port: FakePort): string {
  const entries = port.ofType("batch").flatMap((batch) => batch.entries);
  return entries.map(({ chunk }) => JSON.stringify(chunk).match(/"content":"([^"]*)"/)?.[1] ?? "").join("");
}

test("it says when it is ready", () => {
  expect(setUp().port.told).toEqual([{ type: "ready" }]);
});

describe("credits", () => {
  test("without any, reading stops when the buffer is full, and nothing was posted", async () => {
    const { port, server } = setUp();
    server.stream(
      Array.from({ length: 1000 }, (_, index) => line(`${index} `)),
      "hang",
    );
    port.tell({ type: "open", id: 1, ask: ASK });
    await settled();
    await settled();
    expect(port.ofType("batch")).toEqual([]);
    expect(server.reads).toBe(5);
  });

  test("each brings one batch, and reading goes on", async () => {
    const { port, server } = setUp();
    server.stream(
      Array.from({ length: 1000 }, () => line("x")),
      "hang",
    );
    port.tell({ type: "open", id: 1, ask: ASK });
    for (let granted = 1; granted <= 10; granted++) {
      await settled();
      await settled();
      port.tell({ type: "credit", id: 1, paceMs: 0 });
      expect(port.ofType("batch")).toHaveLength(granted);
    }
    await settled();
    await settled();
    expect(server.reads).toBeLessThanOrEqual(11 * 5);
    expect(textOf(port)).toBe("x".repeat(50));
  });

  test("a page that takes nothing is not silence", async () => {
    const { port, server, clock } = setUp();
    server.stream([line("a").repeat(5), end(5)]);
    port.tell({ type: "open", id: 1, ask: ASK });
    await clock.advance(3_600_000);
    expect(server.requests).toHaveLength(1);
    port.tell({ type: "credit", id: 1, paceMs: 0 });
    await clock.advance(0);
    expect(port.ofType("end")[0]?.outcome.ending?.state).toBe("completed");
  });

  test("the end comes behind the last batch", async () => {
    const { port, server } = setUp();
    server.stream([line("a"), end(1)]);
    port.tell({ type: "open", id: 1, ask: ASK });
    await settled();
    expect(port.ofType("end")).toEqual([]);
    port.tell({ type: "credit", id: 1, paceMs: 0 });
    expect(port.told.slice(-2).map(({ type }) => type)).toEqual(["batch", "end"]);
  });
});

describe("breaks", () => {
  test("are told, and mended behind the last entry", async () => {
    const { port, server, clock } = setUp();
    server.stream([line("a"), line("b")], "break");
    server.stream([`${JSON.stringify({ offset: 2, chunk: textChunk("c") })}\n`, end(3)]);
    port.tell({ type: "open", id: 1, ask: ASK });
    port.tell({ type: "credit", id: 1, paceMs: 0 });
    await clock.advance(10_000);
    port.tell({ type: "credit", id: 1, paceMs: 0 });
    port.tell({ type: "credit", id: 1, paceMs: 0 });
    expect(server.requests[1]?.url).toBe("http://relay/v1/streams/s1/events?after=1");
    expect(textOf(port)).toBe("abc");
    const states = port.ofType("status").map(({ status }) => status.state);
    expect(states).toEqual(["streaming", "reconnecting", "streaming"]);
    expect(port.ofType("end")[0]?.outcome).toMatchObject({ reconnects: 1, ending: { state: "completed" } });
  });

  test("a connection that is silent for `timeout` is one", async () => {
    const { port, server, clock } = setUp();
    server.stream([line("a")], "hang");
    port.tell({ type: "open", id: 1, ask: ASK });
    await clock.advance(29_999);
    expect(server.requests).toHaveLength(1);
    await clock.advance(1);
    expect(port.ofType("status").at(-1)?.status).toMatchObject({
      state: "reconnecting",
      reason: "nothing came for 30 s",
    });
  });

  test("heartbeats are no silence", async () => {
    const { port, clock } = setUp();
    let beat: () => void = () => {};
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        beat = () => controller.enqueue(utf8.encode("\n"));
      },
    });
    const headers = { "Content-Type": "application/x-ndjson", "Headrace-Stream-Id": "s1" };
    const requests: string[] = [];
    const platform = {
      fetch: async (url: string) => {
        requests.push(url);
        return new Response(body, { headers });
      },
      webSocket: null,
      eventSource: null,
      clock,
      network: new FakeNetwork(),
      random: () => 0.5,
    };
    new Host(port, platform);
    port.tell({ type: "open", id: 1, ask: ASK });
    for (let count = 0; count < 8; count++) {
      await clock.advance(15_000);
      beat();
    }
    expect(requests).toHaveLength(1);
  });

  test("the network coming back ends a wait at once", async () => {
    const { port, server, clock, network } = setUp();
    server.stream([line("a")], "break");
    port.tell({ type: "open", id: 1, ask: ASK });
    await settled();
    network.online = false;
    await clock.advance(0);
    expect(server.requests).toHaveLength(1);
    server.stream([end(1)]);
    network.comeBack();
    await settled();
    expect(server.requests).toHaveLength(2);
  });
});

describe("stopping", () => {
  test("the end that the relay tells is told", async () => {
    const { port, server } = setUp();
    server.stream([line("a"), end(1, "cancelled", "client_stop")]);
    port.tell({ type: "open", id: 1, ask: ASK });
    port.tell({ type: "stop", id: 1 });
    port.tell({ type: "credit", id: 1, paceMs: 0 });
    await settled();
    expect(port.ofType("end")[0]?.outcome).toMatchObject({ isStopped: true, fault: null, lastOffset: 0 });
  });

  test("without an end it is over after two seconds, whatever hangs", async () => {
    const { port, server, clock } = setUp();
    server.silence();
    port.tell({ type: "open", id: 1, ask: ASK });
    await settled();
    port.tell({ type: "stop", id: 1 });
    port.tell({ type: "told", id: 1 });
    await clock.advance(1999);
    expect(port.ofType("end")).toEqual([]);
    await clock.advance(1);
    expect(port.ofType("end")[0]?.outcome).toMatchObject({ isStopped: true, ending: { cause: "client_stop" } });
    expect(server.requests[0]?.init.signal?.aborted).toBe(true);
  });

  test("also when the page takes nothing and the buffer is full", async () => {
    const { port, server, clock } = setUp();
    server.stream(
      Array.from({ length: 100 }, () => line("x")),
      "hang",
    );
    port.tell({ type: "open", id: 1, ask: ASK });
    await settled();
    port.tell({ type: "stop", id: 1 });
    await clock.advance(2000);
    port.tell({ type: "credit", id: 1, paceMs: 0 });
    expect(port.ofType("end")).toHaveLength(1);
  });

  test("a stop that nobody answers gets the stream's own connection", async () => {
    const { port, server, clock } = setUp();
    server.stream([line("a")], "hang");
    server.stream([end(1, "cancelled", "client_stop")]);
    port.tell({ type: "open", id: 1, ask: ASK });
    port.tell({ type: "credit", id: 1, paceMs: 0 });
    await settled();
    port.tell({ type: "stop", id: 1 });
    await clock.advance(1000);
    expect(server.requests.map(({ init }) => init.signal?.aborted)).toEqual([true, true]);
    expect(server.requests[1]?.url).toContain("/events?after=0");
    // A POST that the browser must not keep would ask the relay, too, for an answer that is not from its cache.
    expect(server.requests.map(({ init }) => [init.method, init.cache])).toEqual([
      ["POST", "default"],
      ["GET", "no-store"],
    ]);
    expect(port.ofType("end")[0]?.outcome.isStopped).toBe(true);
  });
});

test("a detached stream is left, and nothing more is told of it", async () => {
  const { port, server, clock } = setUp();
  server.stream([line("a")], "hang");
  port.tell({ type: "open", id: 1, ask: ASK });
  await settled();
  const before = port.told.length;
  port.tell({ type: "detach", id: 1 });
  port.tell({ type: "credit", id: 1, paceMs: 0 });
  await clock.advance(100_000);
  expect(port.told).toHaveLength(before);
  expect(server.requests).toHaveLength(1);
  expect(server.requests[0]?.init.signal?.aborted).toBe(true);
  expect(clock.pending).toBe(0);
});

test("streams do not get into each other's way", async () => {
  const { port, server } = setUp();
  server.stream([line("a"), end(1)]);
  server.stream([line("b"), end(1)]);
  port.tell({ type: "open", id: 1, ask: ASK });
  port.tell({ type: "open", id: 2, ask: { ...ASK, streamId: "s2" } });
  await settled();
  port.tell({ type: "credit", id: 2, paceMs: 0 });
  expect(port.ofType("end").map(({ id }) => id)).toEqual([2]);
  expect(textOf(port)).toBe("b");
});
