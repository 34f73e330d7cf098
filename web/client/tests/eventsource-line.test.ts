/** The browser's own EventSource, played by the test. Its dialect over `fetch` runs in the stream cases. */

import { describe, expect, test } from "vitest";
import { Host } from "../src/host.ts";
import type { Ask, ToHost, ToPage } from "../src/messages.ts";
import { portPair } from "../src/port.ts";
import { tokenURL } from "../src/token-url.ts";
import { FakeClock, FakeNetwork, settled } from "./fakes.ts";

class FakeEventSource extends EventTarget {
  readyState = 0;

  constructor(readonly url: string) {
    super();
  }

  close(): void {
    this.readyState = 2;
  }

  open(): void {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
  }

  say(type: string, lastEventId: string, data: string): void {
    this.dispatchEvent(Object.assign(new Event(type), { lastEventId, data }));
  }

  token(offset: number, token: string): void {
    this.say("message", `strm_1:${offset}`, JSON.stringify({ token }));
  }

  break(readyState: 0 | 2): void {
    this.readyState = readyState;
    this.dispatchEvent(new Event("error"));
  }
}

class Bench {
  readonly clock = new FakeClock();
  readonly sources: FakeEventSource[] = [];
  readonly fetched: { url: string; init: RequestInit }[] = [];
  readonly told: ToPage[] = [];
  readonly #port = portPair<ToPage, ToHost>()[0];

  constructor(answer: () => Response = () => new Response("", { status: 404 })) {
    const [page, far] = portPair<ToPage, ToHost>();
    this.#port = page;
    page.onMessage = (message) => this.told.push(message);
    new Host(far, {
      fetch: (url, init) => {
        this.fetched.push({ url, init });
        return Promise.resolve(answer());
      },
      webSocket: null,
      eventSource: (url) => {
        const source = new FakeEventSource(url);
        this.sources.push(source);
        return source;
      },
      clock: this.clock,
      network: new FakeNetwork(),
      random: () => 0.5,
    });
  }

  get source(): FakeEventSource {
    return this.sources.at(-1) ?? expect.fail("no EventSource was made");
  }

  async tell(...messages: ToHost[]): Promise<void> {
    for (const message of messages) this.#port.post(message);
    await settled();
  }

  async open(over: Partial<Ask> = {}): Promise<void> {
    const ask: Ask = {
      payload: {},
      url: "http://relay/v1/completions/stream?prompt=hi",
      root: "http://relay",
      streamId: null,
      after: -1,
      merge: false,
      linger: 30,
      format: "ndjson",
      transport: "eventsource",
      headers: {},
      key: null,
      patience: { timeout: 30_000, retryAttempts: 2, retryDelay: 800, resumeFor: 60_000 },
      maxBufferSize: 3,
    };
    await this.tell({ type: "open", id: 1, ask: { ...ask, ...over } });
  }

  async end(): Promise<ToPage | undefined> {
    await this.tell({ type: "credit", id: 1, paceMs: 0 }, { type: "credit", id: 1, paceMs: 0 });
    return this.told.find(({ type }) => type === "end");
  }
}

test("tokens come with the offsets of their ids, and [DONE] is the end", async () => {
  const bench = new Bench();
  await bench.open();
  bench.source.open();
  bench.source.token(1, "a");
  bench.source.token(2, "b");
  bench.source.say("message", "strm_1:4", "[DONE]");
  expect(await bench.end()).toMatchObject({
    outcome: { ending: { state: "completed" }, streamId: "strm_1", lastOffset: 2 },
  });
  expect(bench.source.readyState).toBe(2);
});

test("a break is mended by the browser itself, and counted", async () => {
  const bench = new Bench();
  await bench.open();
  bench.source.open();
  bench.source.token(1, "a");
  bench.source.break(0);
  await settled();
  expect(bench.told.at(-1)).toMatchObject({ type: "status", status: { state: "reconnecting" } });
  bench.source.open();
  bench.source.token(1, "a");
  bench.source.token(2, "b");
  await bench.clock.advance(400);
  bench.source.say("message", "strm_1:3", "[DONE]");
  expect(await bench.end()).toMatchObject({ outcome: { reconnects: 1, lastOffset: 2 } });
  expect(bench.sources).toHaveLength(1);
  expect(bench.fetched).toEqual([]);
});

test("a refusal goes on over fetch, which sees what it says", async () => {
  const bench = new Bench(() =>
    Response.json({ error: { message: "too long", type: "x", code: null } }, { status: 400 }),
  );
  await bench.open();
  bench.source.break(2);
  await bench.clock.advance(2000);
  expect(bench.fetched).toMatchObject([{ url: "http://relay/v1/completions/stream?prompt=hi" }]);
  expect(await bench.end()).toMatchObject({
    outcome: { fault: { kind: "request", message: "too long", status: 400 } },
  });
});

test("a page that reads too slowly ends it: an EventSource cannot be slowed, so the rest comes over fetch", async () => {
  const bench = new Bench();
  await bench.open();
  bench.source.open();
  for (let offset = 1; offset <= 5; offset++) bench.source.token(offset, "x");
  expect(bench.source.readyState).toBe(2);
  await bench.clock.advance(400);
  expect(bench.fetched[0]?.init.headers).toMatchObject({ "Last-Event-ID": "strm_1:3" });
});

test("an error event with data is the relay's word", async () => {
  const bench = new Bench();
  await bench.open();
  bench.source.token(1, "a");
  const error = { message: "cut", state: "truncated", cause: "upstream_closed", code: "upstream_closed" };
  bench.source.say("error", "strm_1:2", JSON.stringify({ error }));
  expect(await bench.end()).toMatchObject({ outcome: { ending: { state: "truncated" }, fault: { kind: "engine" } } });
});

test("a key becomes a ticket, for it must not stand in a URL", async () => {
  const bench = new Bench(() => Response.json({ ticket: "tick" }, { status: 201 }));
  await bench.open({ key: "sk", headers: { Authorization: "Bearer sk" } });
  expect(bench.fetched).toMatchObject([
    { url: "http://relay/v1/tickets", init: { headers: { Authorization: "Bearer sk" } } },
  ]);
  expect(bench.source.url).toBe("http://relay/v1/completions/stream?prompt=hi&ticket=tick");
});

test("a stop before the stream has told its name closes it, and that is the end", async () => {
  const bench = new Bench();
  await bench.open();
  await bench.tell({ type: "stop", id: 1 });
  expect(bench.source.readyState).toBe(2);
  expect(await bench.end()).toMatchObject({ outcome: { isStopped: true } });
});

describe("a request in a URL", () => {
  const user = { role: "user", content: "why?" };

  test("holds the question, the system prompt and sampling", () => {
    const messages = [{ role: "system", content: "be brief" }, user];
    const url = new URL(
      tokenURL("http://relay", { messages, max_tokens: 5, temperature: 0, stream: true, seed: undefined }, 5),
    );
    expect(Object.fromEntries(url.searchParams)).toEqual({
      prompt: "why?",
      system: "be brief",
      max_tokens: "5",
      temperature: "0",
      linger: "5",
    });
  });

  test.each([
    ["a conversation", { messages: [user, { role: "assistant", content: "so" }, user] }],
    ["no question", { messages: [{ role: "system", content: "x" }] }],
    ["an image", { messages: [{ role: "user", content: [{ type: "image_url" }] }] }],
    ["tools", { messages: [user], tools: [] }],
  ])("cannot hold %s", (_, payload) => {
    expect(() => tokenURL("http://relay", payload, 5)).toThrow(TypeError);
  });
});
