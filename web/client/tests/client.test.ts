/** The page's side, with a host that the test plays: a Worker's stand-in behind `createWorker`. */

import { afterEach, describe, expect, test, vi } from "vitest";
import { systemClock } from "../src/clock.ts";
import { completed, endingWith } from "../src/ending.ts";
import { faultOf } from "../src/fault.ts";
import type { ClientOptions, StreamError, StreamUpdate } from "../src/index.ts";
import { LLMStreamClient } from "../src/index.ts";
import type { ToHost, ToPage } from "../src/messages.ts";
import type { Outcome } from "../src/session.ts";
import { FakeFrames, settled, textChunk } from "./fakes.ts";

class FakeWorker extends EventTarget {
  readonly got: ToHost[] = [];
  isTerminated = false;

  postMessage(message: ToHost): void {
    this.got.push(structuredClone(message));
  }

  terminate(): void {
    this.isTerminated = true;
  }

  say(message: ToPage): void {
    this.dispatchEvent(Object.assign(new Event("message"), { data: structuredClone(message) }));
  }

  batch(id: number, from: number, ...texts: string[]): void {
    this.say({
      type: "batch",
      id,
      entries: texts.map((text, index) => ({ offset: from + index, chunk: textChunk(text) })),
    });
  }

  end(id: number, over: Partial<Outcome> = {}): void {
    const times = { firstByteAt: null, firstContentAt: null, lastContentAt: null, endedAt: null, contents: 0 };
    const told = {
      ending: completed("stop"),
      fault: null,
      gaveUp: false,
      isStopped: false,
      phase: "following",
    } as const;
    this.say({ type: "end", id, outcome: { ...told, streamId: "s1", lastOffset: 0, reconnects: 0, times, ...over } });
  }

  credits(id: number): number {
    return this.got.filter((message) => message.type === "credit" && message.id === id).length;
  }
}

class FakeStorage {
  readonly values = new Map<string, string>();

  getItem(name: string): string | null {
    return this.values.get(name) ?? null;
  }

  setItem(name: string, value: string): void {
    this.values.set(name, value);
  }
}

interface Setup {
  client: LLMStreamClient;
  worker: FakeWorker;
  frames: FakeFrames;
  storage: FakeStorage;
  view: { isHidden: boolean };
}

/** Frames that are painted as soon as they are asked for. */
function atOnce(run: () => void): () => void {
  run();
  return () => {};
}

const PAYLOAD = { messages: [{ role: "user", content: "hi" }] };

function setUp(over: ClientOptions = {}): Setup {
  const worker = new FakeWorker();
  const frames = new FakeFrames();
  const storage = new FakeStorage();
  const view = { isHidden: false };
  const given = { baseURL: "http://relay", createWorker: () => worker, schedule: frames.schedule, storage };
  const client = new LLMStreamClient({ ...given, isHidden: () => view.isHidden, ...over });
  worker.say({ type: "ready" });
  return { client, worker, frames, storage, view };
}

/** Plays the relay's answer to requests that the page itself makes. */
function stubFetch(status = 200): { url: string; init: RequestInit }[] {
  const requests: { url: string; init: RequestInit }[] = [];
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
    requests.push({ url, init });
    return Promise.resolve(new Response("{}", { status }));
  });
  return requests;
}

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("what is asked", () => {
  test("max_tokens and temperature are filled in where the payload has none", () => {
    const { client, worker } = setUp({ config: { maxTokens: 7 } });
    const asked = (payload: Record<string, unknown>): unknown => {
      client.generate("/v1/chat/completions", { ...PAYLOAD, ...payload });
      const message = worker.got.filter((each) => each.type === "open").at(-1);
      return message?.ask.payload;
    };
    expect(asked({})).toEqual({ ...PAYLOAD, max_tokens: 7, temperature: 0.7, stream: true });
    expect(asked({ max_completion_tokens: 5 })).toEqual({
      ...PAYLOAD,
      max_completion_tokens: 5,
      temperature: 0.7,
      stream: true,
    });
    expect(asked({ max_tokens: 1, temperature: 0, stream: false })).toEqual({
      ...PAYLOAD,
      max_tokens: 1,
      temperature: 0,
      stream: true,
    });
  });

  test("the key is a header, and asked for anew each time", () => {
    let key: string | null = "one";
    const { client, worker } = setUp({ apiKey: () => key });
    client.generate("/v1/chat/completions", PAYLOAD);
    key = null;
    client.generate("/v1/chat/completions", PAYLOAD);
    const headers = worker.got.flatMap((each) => (each.type === "open" ? [each.ask.headers] : []));
    expect(headers).toEqual([{ Authorization: "Bearer one" }, {}]);
  });

  test("what an EventSource cannot carry fails with its name, and nothing is sent", async () => {
    const { client, worker } = setUp({ transport: "eventsource" });
    const onError = vi.fn<(error: StreamError) => void>();
    const { status } = await client.generate("/v1/chat/completions", { ...PAYLOAD, tools: [] }, { onError }).result;
    expect(status).toMatchObject({ state: "failed", message: 'transport "eventsource" cannot carry tools' });
    expect(onError.mock.calls[0]?.[0]).toMatchObject({ kind: "request" });
    expect(worker.got).toEqual([]);
  });

  test("settings that cannot be meant are refused with their name", () => {
    expect(() => new LLMStreamClient({ config: { timeout: -1 } })).toThrow(
      new RangeError("config.timeout must be from 1 to 86400000, not -1"),
    );
    expect(() => new LLMStreamClient({ config: { maxBufferSize: 1.5 } })).toThrow(
      /config\.maxBufferSize must be a whole number/,
    );
    expect(() => Reflect.construct(LLMStreamClient, [{ transport: "pigeon" }])).toThrow(/^transport must be/);
    expect(() => new LLMStreamClient().generate("/x", PAYLOAD)).toThrow(/give baseURL/);
    expect(() => setUp().client.generate("/x", PAYLOAD, { streamId: "ö" })).toThrow(/^streamId must be/);
  });
});

describe("delivery", () => {
  test("is at most once a frame, with everything that came", async () => {
    const { client, worker, frames } = setUp();
    const updates: StreamUpdate[] = [];
    client.generate("/v1/chat/completions", PAYLOAD, { onChunk: (update) => updates.push(update) });
    worker.batch(1, 0, "a", "b");
    worker.batch(1, 2, "c");
    expect(updates).toEqual([]);
    await frames.paint();
    expect(updates).toMatchObject([{ text: "abc", firstOffset: 0, lastOffset: 2 }]);
    expect(updates[0]?.chunks).toHaveLength(3);
  });

  test("grants the next batch only then", async () => {
    const { client, worker, frames } = setUp();
    client.generate("/v1/chat/completions", PAYLOAD);
    expect(worker.credits(1)).toBe(1);
    worker.batch(1, 0, "a");
    await settled();
    expect(worker.credits(1)).toBe(1);
    await frames.paint();
    expect(worker.credits(1)).toBe(2);
  });

  test("a hidden page asks for a pace that needs no timer of its own", async () => {
    const { client, worker, frames, view } = setUp();
    client.generate("/v1/chat/completions", PAYLOAD);
    view.isHidden = true;
    worker.batch(1, 0, "a");
    await frames.paint();
    expect(worker.got.at(-1)).toEqual({ type: "credit", id: 1, paceMs: 250 });
  });

  test("a paused generation takes nothing, and loses nothing", async () => {
    const { client, worker, frames } = setUp();
    const generation = client.generate("/v1/chat/completions", PAYLOAD);
    generation.pause();
    worker.batch(1, 0, "a");
    worker.end(1);
    await frames.paint();
    expect([generation.text, worker.credits(1)]).toEqual(["", 1]);
    generation.resume();
    await frames.paint();
    await frames.paint();
    await frames.paint();
    expect((await generation.result).text).toBe("a");
  });

  test("a loop applies back-pressure: one batch for each time it asks", async () => {
    const { client, worker, frames } = setUp();
    const loop = client.generate("/v1/chat/completions", PAYLOAD)[Symbol.asyncIterator]();
    worker.batch(1, 0, "a");
    await frames.paint();
    expect(worker.credits(1)).toBe(1);
    expect(await loop.next()).toMatchObject({ value: { text: "a" } });
    expect(worker.credits(1)).toBe(1);
    const second = loop.next();
    expect(worker.credits(1)).toBe(2);
    worker.batch(1, 1, "b");
    await frames.paint();
    expect(await second).toMatchObject({ value: { text: "b" } });
    worker.end(1);
    await frames.paint();
    expect(await loop.next()).toEqual({ done: true, value: undefined });
  });

  test("a loop over a stream that breaks throws, after everything that came", async () => {
    const { client, worker } = setUp({ schedule: atOnce });
    const generation = client.generate("/v1/chat/completions", PAYLOAD);
    const texts: string[] = [];
    const loop = (async () => {
      for await (const { text } of generation) texts.push(text);
    })();
    worker.batch(1, 0, "a");
    worker.end(1, { ending: endingWith("truncated", "node_lost"), fault: faultOf("relay", "restarted") });
    await expect(loop).rejects.toMatchObject({ name: "StreamError", kind: "relay", result: { text: "a" } });
    expect(texts).toEqual(["a"]);
  });

  test("leaving a loop stops the stream, or detaches from it", async () => {
    stubFetch();
    const { client, worker, frames } = setUp();
    for (const onUnmount of ["stop", "keep"] as const) {
      const generation = client.generate("/v1/chat/completions", PAYLOAD, { onUnmount });
      worker.batch(worker.got.filter(({ type }) => type === "open").length, 0, "a");
      const painting = frames.paint();
      for await (const _ of generation) break;
      await painting;
    }
    expect(worker.got.map(({ type }) => type).filter((type) => type === "stop" || type === "detach")).toEqual([
      "stop",
      "detach",
    ]);
  });

  test("a filter sees text before anyone else, and gives the rest at the end", async () => {
    const held = new Map<unknown, string>();
    const incrementalFilter = (delta: string, isEnd: boolean, generation: unknown): string => {
      const all = (held.get(generation) ?? "") + delta;
      const shown = isEnd ? all : all.slice(0, -1);
      held.set(generation, all.slice(shown.length));
      return shown.replaceAll("bad", "***");
    };
    const { client, worker, frames } = setUp({ config: { incrementalFilter } });
    const updates: StreamUpdate[] = [];
    const generation = client.generate("/v1/chat/completions", PAYLOAD, { onChunk: (update) => updates.push(update) });
    worker.batch(1, 0, "bad", "x");
    await frames.paint();
    worker.end(1);
    for (let count = 0; count < 4; count++) await frames.paint();
    expect((await generation.result).text).toBe("***x");
    expect(updates.map(({ text, chunks }) => [text, chunks])).toEqual([
      ["***", []],
      ["x", []],
    ]);
  });
});

describe("ends", () => {
  async function endWith(over: Partial<Outcome>): Promise<{ calls: string[]; error: StreamError | null }> {
    const { client, worker, frames } = setUp();
    const calls: string[] = [];
    let error: StreamError | null = null;
    const generation = client.generate("/v1/chat/completions", PAYLOAD, {
      onState: ({ state }) => void calls.push(state),
      onComplete: () => void calls.push("onComplete"),
      onError: (thrown) => {
        error = thrown;
        calls.push("onError");
      },
      onMetrics: () => void calls.push("onMetrics"),
    });
    worker.end(1, over);
    await frames.paint();
    await generation.result;
    await settled();
    return { calls, error };
  }

  test("a whole answer completes", async () => {
    expect((await endWith({})).calls).toEqual(["completed", "onComplete", "onMetrics"]);
  });

  test("a stop of this client's completes, somebody else's does not", async () => {
    const ending = endingWith("cancelled", "client_stop");
    expect((await endWith({ ending, isStopped: true })).calls).toEqual(["cancelled", "onComplete", "onMetrics"]);
    const other = await endWith({ ending, fault: faultOf("cancelled", "stopped") });
    expect(other.calls).toEqual(["cancelled", "onError", "onMetrics"]);
  });

  test("a lost connection can be resumed, an erased stream cannot", async () => {
    const lost = await endWith({ ending: null, gaveUp: true, fault: faultOf("lost", "gone") });
    expect(lost.error?.result.status).toMatchObject({ state: "truncated", cause: "connection_lost", canResume: true });
    const erased = await endWith({ ending: null, fault: faultOf("not_found", "gone") });
    expect(erased.error?.result.status).toMatchObject({
      state: "truncated",
      cause: "stream_not_found",
      canResume: false,
    });
    const unreachable = await endWith({ ending: null, gaveUp: true, phase: "asking", fault: faultOf("lost", "no") });
    expect(unreachable.error?.result.status).toMatchObject({ state: "failed", cause: "connection_lost" });
  });

  test("a callback that throws does not keep the others from being called", async () => {
    const uncaught = vi.fn<() => void>();
    process.once("uncaughtException", uncaught);
    const listeners = process.listeners("uncaughtException").filter((each) => each !== uncaught);
    for (const each of listeners) process.off("uncaughtException", each);
    const { client, worker, frames } = setUp();
    const onComplete = vi.fn<() => void>();
    client.generate("/v1/chat/completions", PAYLOAD, {
      onState: () => {
        throw new Error("a bug of the caller's");
      },
      onComplete,
    });
    worker.end(1);
    await frames.paint();
    for (const each of listeners) process.on("uncaughtException", each);
    expect(onComplete).toHaveBeenCalledOnce();
    expect(uncaught).toHaveBeenCalledOnce();
  });
});

describe("stopping", () => {
  test("tells the relay from the page's own thread, with keepalive, and the host", async () => {
    const requests = stubFetch();
    const { client, worker } = setUp({ apiKey: "sk" });
    const generation = client.generate("/v1/chat/completions", PAYLOAD, { streamId: "mine" });
    const stopping = generation.cancel();
    // Before the first await: the page may be gone in the next task.
    expect(requests).toMatchObject([
      {
        url: "http://relay/v1/streams/mine/cancel",
        init: { method: "POST", keepalive: true, headers: { Authorization: "Bearer sk" } },
      },
    ]);
    await stopping;
    expect(worker.got.slice(-2).map(({ type }) => type)).toContain("told");
    expect(worker.got.filter(({ type }) => type === "stop")).toHaveLength(1);
    void generation.cancel();
    expect(requests).toHaveLength(1);
  });

  test("an abort is a stop, and one from before sends nothing", async () => {
    const requests = stubFetch();
    const { client, worker } = setUp();
    const aborting = new AbortController();
    client.generate("/v1/chat/completions", PAYLOAD, { signal: aborting.signal });
    aborting.abort();
    expect(requests).toHaveLength(1);
    const before = worker.got.length;
    const { status } = await client.generate("/v1/chat/completions", PAYLOAD, { signal: AbortSignal.abort() }).result;
    expect(status).toMatchObject({ state: "cancelled", cause: "client_stop" });
    expect(worker.got).toHaveLength(before);
  });

  test("close stops or leaves each stream, and ends the Worker", async () => {
    const requests = stubFetch();
    const { client, worker } = setUp();
    const stopped = client.generate("/v1/chat/completions", PAYLOAD, { streamId: "a" });
    const kept = client.generate("/v1/chat/completions", PAYLOAD, { streamId: "b", onUnmount: "keep" });
    client.close();
    expect(requests.map(({ url }) => url)).toEqual(["http://relay/v1/streams/a/cancel"]);
    expect(worker.isTerminated).toBe(true);
    expect((await stopped.result).status).toMatchObject({ state: "cancelled", cause: "client_stop" });
    expect((await kept.result).status).toMatchObject({ cause: "detached", canResume: true });
    expect(client.pending().map(({ streamId }) => streamId)).toEqual(["b"]);
    expect(() => client.generate("/x", PAYLOAD)).toThrow("the client is closed");
  });

  test("after detach nothing is called any more", async () => {
    const { client, worker, frames } = setUp();
    const called = vi.fn<() => void>();
    const generation = client.generate("/v1/chat/completions", PAYLOAD, {
      onChunk: called,
      onComplete: called,
      onError: called,
    });
    generation.detach();
    worker.batch(1, 0, "a");
    worker.end(1);
    await frames.paint();
    expect((await generation.result).status).toMatchObject({ cause: "detached" });
    expect(called).not.toHaveBeenCalled();
  });
});

describe("saved streams", () => {
  test("are those that have not ended, newest first, with the offset that was given", async () => {
    const { client, worker, frames, storage } = setUp();
    client.generate("/v1/chat/completions", PAYLOAD, { streamId: "a" });
    await new Promise((resolve) => setTimeout(resolve, 2));
    client.generate("/v1/chat/completions", PAYLOAD, { streamId: "b" });
    worker.batch(1, 0, "x", "y");
    await frames.paint();
    worker.say({ type: "head", id: 1, streamId: "a", transport: "fetch" });
    const again = setUp({ storage }).client;
    expect(again.pending().map(({ streamId, offset }) => [streamId, offset])).toEqual([
      ["b", -1],
      ["a", 1],
    ]);
    worker.end(1);
    for (let count = 0; count < 3; count++) await frames.paint();
    expect(again.pending().map(({ streamId }) => streamId)).toEqual(["b"]);
  });

  test("are attached to where they were started", () => {
    const { client, worker, storage } = setUp();
    client.generate("http://other/llm/v1/chat/completions", PAYLOAD, { streamId: "a" });
    const again = setUp({ storage });
    again.client.attach("a", { after: 3, text: "abc" });
    expect(again.worker.got[0]).toMatchObject({ ask: { root: "http://other/llm", after: 3, payload: null } });
    expect(worker.got[0]).toMatchObject({ ask: { root: "http://other/llm" } });
  });

  test("a server that is no Headrace has none", () => {
    const { client, worker } = setUp();
    client.generate("/v1/chat/completions", PAYLOAD);
    expect(client.pending()).toHaveLength(1);
    worker.say({ type: "head", id: 1, streamId: null, transport: "fetch" });
    expect(client.pending()).toEqual([]);
  });

  test("storage that is full, broken or forbidden does no harm", () => {
    const broken = {
      getItem: () => "{not json",
      setItem: () => {
        throw new Error("QuotaExceededError");
      },
    };
    const { client } = setUp({ storage: broken });
    client.generate("/v1/chat/completions", PAYLOAD);
    expect(client.pending()).toEqual([]);
  });
});

describe("metrics", () => {
  test("the first visible text is that of the frame after it was painted", async () => {
    const { client, worker, frames } = setUp();
    const generation = client.generate("/v1/chat/completions", PAYLOAD);
    worker.batch(1, 0, "a");
    await frames.paint();
    worker.end(1);
    const isSettled = vi.fn<() => void>();
    void generation.result.then(isSettled);
    await frames.paint();
    expect(isSettled).not.toHaveBeenCalled();
    await frames.paint();
    expect((await generation.result).metrics.firstVisibleMs).toBeGreaterThanOrEqual(0);
  });

  test("a hidden page has no first visible text", async () => {
    const { client, worker, frames, view } = setUp();
    view.isHidden = true;
    const generation = client.generate("/v1/chat/completions", PAYLOAD);
    worker.batch(1, 0, "a");
    worker.end(1);
    await frames.paint();
    expect((await generation.result).metrics.firstVisibleMs).toBeNull();
  });

  test("go to the relay when they are wanted there, and only of streams whose end it told", async () => {
    const requests = stubFetch();
    const { client, worker, frames } = setUp({ config: { metrics: { report: true } } });
    const first = client.generate("/v1/chat/completions", PAYLOAD, { streamId: "a" });
    const second = client.generate("/v1/chat/completions", PAYLOAD, { streamId: "b" });
    worker.end(1, { streamId: "a" });
    worker.end(2, { streamId: "b", ending: null, gaveUp: true, fault: faultOf("lost", "") });
    await frames.paint();
    await Promise.all([first.result, second.result]);
    await settled();
    expect(requests.map(({ url }) => url)).toEqual(["http://relay/v1/streams/a/perceived"]);
    expect(JSON.parse(String(requests[0]?.init.body))).toMatchObject({
      reconnects: 0,
      transport: "fetch",
      first_visible_ms: null,
    });
  });

  test("of who came to a running stream do not go to the relay", async () => {
    const requests = stubFetch();
    const { client, worker, frames } = setUp({ config: { metrics: { report: true } } });
    const { result } = client.attach("a");
    worker.end(1, { streamId: "a" });
    await frames.paint();
    await result;
    await settled();
    expect(requests).toEqual([]);
  });
});

describe("a relay that does not answer", () => {
  test("is named, and so is what may be wrong from a page of another origin", async () => {
    vi.stubGlobal("location", { origin: "http://page" });
    const fetch = () => Promise.reject(new TypeError("Failed to fetch"));
    const config = { retryAttempts: 0 };
    const client = new LLMStreamClient({ baseURL: "http://relay", worker: false, fetch, config, resumeFor: 0 });
    const { status } = await client.generate("/v1/chat/completions", PAYLOAD).result;
    client.close();
    const message = "http://relay does not answer, or does not let pages of http://page in: Failed to fetch";
    expect(status).toMatchObject({ state: "failed", message });
  });
});

describe("the Worker", () => {
  test("that fails before it is ready is replaced, and nothing that was said is lost", async () => {
    const requests = stubFetch(404);
    const worker = new FakeWorker();
    const client = new LLMStreamClient({ baseURL: "http://relay", createWorker: () => worker, storage: null });
    const { result } = client.attach("s1");
    worker.dispatchEvent(new Event("error"));
    expect((await result).status.state).toBe("failed");
    expect(requests[0]?.url).toBe("http://relay/v1/streams/s1/events?after=-1");
    expect(worker.isTerminated).toBe(true);
    client.close();
  });

  test("that cannot be made is done without", async () => {
    const requests = stubFetch(404);
    const createWorker = (): never => {
      throw new Error("SecurityError");
    };
    const client = new LLMStreamClient({ baseURL: "http://relay", createWorker, storage: null });
    await client.attach("s1").result;
    expect(requests).toHaveLength(1);
    client.close();
  });

  test("is not used when a part of the platform was given, which cannot be posted to it", async () => {
    const createWorker = vi.fn<() => FakeWorker>(() => new FakeWorker());
    const fetch = (): Promise<Response> => Promise.resolve(new Response("", { status: 404 }));
    const client = new LLMStreamClient({
      baseURL: "http://relay",
      createWorker,
      fetch,
      clock: systemClock,
      storage: null,
    });
    await client.attach("s1").result;
    expect(createWorker).not.toHaveBeenCalled();
    client.close();
  });
});
