import { describe, expect, test } from "vitest";
import { Answer, MAX_KEPT } from "../src/chat/answer.ts";
import { Runs, type RunsOptions } from "../src/chat/runs.ts";
import type { AnswerRecord } from "../src/store/types.ts";
import { answer, COMPLETE, FakeClient, FakeTimers, LOST, settle, unknown } from "./fakes.ts";

const PAYLOAD = { messages: [{ role: "user" as const, content: "Why?" }] };

function runs(more: Partial<RunsOptions> = {}) {
  const client = new FakeClient();
  const timers = new FakeTimers();
  const saved: AnswerRecord[] = [];
  const save = async (record: AnswerRecord) => void saved.push(record);
  const made = new Runs({ client, endpoint: "/chat", save, after: timers.after, ...more });
  return { runs: made, client, timers, saved };
}

const refused = (status: number) =>
  ({ state: "failed", cause: "refused", message: "no", status, retryAfterMs: null }) as const;

describe("an answer that is asked for", () => {
  test("grows, and ends with its figures", async () => {
    const { runs: it, client, saved } = runs();
    const asked = new Answer(answer("a"));
    it.start(asked, PAYLOAD);
    expect(it.busy.value).toEqual(new Set(["c"]));
    client.last.say("Be", "hm");
    client.last.say("cause");
    expect([asked.text, asked.reasoning.value, asked.status.value.state]).toEqual(["Because", "hm", "streaming"]);
    client.last.end(COMPLETE, { usage: { completion_tokens: 7, cost: 0.5 } });
    await settle();
    expect(asked.status.value).toEqual(COMPLETE);
    expect(asked.facts.value).toEqual({ tokens: 7, ttftMs: 400, tokensPerSecond: 20, cost: 0.5 });
    expect(saved).toEqual([asked.toRecord()]);
    expect(it.busy.value).toEqual(new Set());
  });

  test("is waited for until something of it can be read", () => {
    const { runs: it, client } = runs();
    const asked = new Answer(answer("a"));
    it.start(asked, PAYLOAD);
    client.last.say("");
    expect(asked.status.value.state).toBe("waiting");
    client.last.say("", "hm");
    expect(asked.status.value.state).toBe("streaming");
  });

  test("is kept at most once an interval, however much comes", async () => {
    const { runs: it, client, timers, saved } = runs({ saveEveryMs: 1000 });
    it.start(new Answer(answer("a")), PAYLOAD);
    for (let count = 0; count < 100; count += 1) client.last.say("x");
    expect(timers.waits.map(({ ms }) => ms)).toEqual([1000]);
    timers.fire();
    expect(saved.map(({ text, lastOffset }) => [text.length, lastOffset])).toEqual([[100, 99]]);
    client.last.say("y");
    expect(timers.waits).toHaveLength(1);
    client.last.end(COMPLETE);
    await settle();
    expect(timers.waits).toHaveLength(0);
    expect(saved.at(-1)?.text).toHaveLength(101);
  });

  test("is kept at once when the tab may go", () => {
    const { runs: it, client, timers, saved } = runs();
    it.start(new Answer(answer("a")), PAYLOAD);
    client.last.say("Be");
    it.flush();
    expect(saved.map(({ text }) => text)).toEqual(["Be"]);
    expect(timers.waits).toHaveLength(0);
  });

  test("tells readers each piece once, then the end", async () => {
    const { runs: it, client } = runs();
    const asked = new Answer(answer("a"));
    const seen: string[] = [];
    it.start(asked, PAYLOAD);
    const leave = asked.read({ grow: (delta) => seen.push(delta), end: () => seen.push("END") });
    client.last.say("a");
    client.last.say("b");
    client.last.end(COMPLETE);
    await settle();
    leave();
    asked.grow("c", "", 9);
    expect(seen).toEqual(["a", "b", "END"]);
  });

  test("that is stopped ends as the engine says", async () => {
    const { runs: it, client } = runs();
    const asked = new Answer(answer("a"));
    it.start(asked, PAYLOAD);
    await it.stop("a");
    await settle();
    expect(client.last.isCancelled).toBe(true);
    expect(asked.status.value.state).toBe("cancelled");
  });

  test("eight at once are told apart", async () => {
    const { runs: it, client } = runs();
    const all = Array.from(
      { length: 8 },
      (_, place) => new Answer(answer(`a${place}`, { conversationId: `c${place}` })),
    );
    for (const one of all) it.start(one, PAYLOAD);
    expect(it.busy.value.size).toBe(8);
    client.calls.forEach((call, place) => {
      call.say(`${place}`);
    });
    client.calls[3]?.end(COMPLETE);
    await settle();
    expect(all.map(({ text }) => text).join("")).toBe("01234567");
    expect(it.busy.value.has("c3")).toBe(false);
    expect(it.busy.value.size).toBe(7);
  });

  test("learns from the relay what it cost, and once more where that was estimated", async () => {
    const records = [
      { cost: { usd: "0.002", basis: "estimated" }, generated_tokens: 7, delivered_tokens: 7 },
      { cost: { usd: "0.001", basis: "reported" }, generated_tokens: 7, delivered_tokens: 5 },
    ];
    const { runs: it, client, timers, saved } = runs({ record: async () => records.shift() ?? null });
    const asked = new Answer(answer("a"));
    it.start(asked, PAYLOAD);
    client.last.say("Because");
    client.last.end(COMPLETE, { usage: { completion_tokens: 7 } });
    await settle();
    expect(asked.facts.value.bill).toMatchObject({ usd: 0.002, isEstimated: true });
    timers.fire();
    await settle();
    expect(asked.facts.value.bill).toMatchObject({ usd: 0.001, isEstimated: false, deliveredTokens: 5 });
    expect(asked.facts.value.ttftMs).toBe(400);
    expect(saved.at(-1)?.facts.bill?.usd).toBe(0.001);
    expect(timers.waits).toHaveLength(0);
  });

  test("that was refused for want of a key is no answer", async () => {
    const { runs: it, client } = runs();
    const asked = new Answer(answer("a"));
    it.start(asked, PAYLOAD);
    client.last.end({ state: "failed", cause: "invalid_api_key", message: "no", status: 401, retryAfterMs: null });
    await settle();
    expect(asked.status.value.state).toBe("failed");
  });

  test("says so when a key is wanted, or the relay lost", async () => {
    const said: string[] = [];
    const { runs: it, client } = runs({ onUnauthorized: () => said.push("key"), onLost: () => said.push("lost") });
    it.start(new Answer(answer("a")), PAYLOAD);
    client.last.end(refused(401));
    it.start(new Answer(answer("b")), PAYLOAD);
    client.last.end(LOST);
    await settle();
    expect(said).toEqual(["key", "lost"]);
  });
});

describe("an answer that is attached to", () => {
  test("goes on behind what it has, without loss or doubling", async () => {
    const { runs: it, client } = runs();
    const stored = new Answer(
      answer("a", { text: "Be", reasoning: "h", lastOffset: 4, status: { state: "streaming" } }),
    );
    it.attach(stored);
    expect([client.last.streamId, client.last.after]).toEqual(["s_a", 4]);
    client.last.say("cause", "m");
    client.last.end(COMPLETE);
    await settle();
    expect(stored.toRecord()).toMatchObject({ text: "Because", reasoning: "hm", lastOffset: 5, status: COMPLETE });
  });

  test("is followed once", () => {
    const { runs: it, client } = runs();
    const stored = new Answer(answer("a"));
    it.attach(stored);
    it.attach(stored);
    expect(client.calls).toHaveLength(1);
  });

  test.each(["stream_not_found", "stream_gone"] as const)("keeps its text when the relay says %s", async (cause) => {
    const { runs: it, client } = runs();
    const stored = new Answer(answer("a", { text: "Be", lastOffset: 4, status: LOST }));
    it.attach(stored);
    client.last.end(unknown(cause));
    await settle();
    expect(stored.text).toBe("Be");
    expect(stored.status.value).toEqual({ state: "truncated", cause, message: "no such stream", canResume: false });
  });

  test("has no answer when the relay never heard of it", async () => {
    const { runs: it, client } = runs();
    const stored = new Answer(answer("a"));
    it.attach(stored);
    client.last.end(unknown("stream_not_found"));
    await settle();
    expect(stored.status.value.state).toBe("failed");
  });

  test("takes the figures it cannot measure from the relay, and keeps those it had", async () => {
    const record = { created_at: 1, first_content_at: 1.25, ended_at: 2.25, usage: { completion_tokens: 11 } };
    const { runs: it, client, saved } = runs({ record: async () => record });
    const stored = new Answer(answer("a", { text: "Be", status: { state: "streaming" } }));
    it.attach(stored);
    client.last.end(COMPLETE);
    await settle();
    expect(stored.facts.value).toEqual({ tokens: 11, ttftMs: 250, tokensPerSecond: 10, cost: null });
    expect(saved.at(-1)?.facts.tokens).toBe(11);
  });

  test("waits for a key where the relay wants one, and can go on with it", async () => {
    const said: string[] = [];
    const { runs: it, client } = runs({ onUnauthorized: () => said.push("key") });
    const stored = new Answer(answer("a", { text: "Be", lastOffset: 4, status: { state: "streaming" } }));
    it.attach(stored);
    client.last.end({ state: "failed", cause: "invalid_api_key", message: "no", status: 401, retryAfterMs: null });
    await settle();
    expect(stored.status.value).toMatchObject({ state: "truncated", cause: "invalid_api_key", canResume: true });
    expect(said).toEqual(["key"]);
  });

  test("resumed after an end, lets its readers begin anew", () => {
    const { runs: it } = runs();
    const stored = new Answer(answer("a", { text: "Be", lastOffset: 4, status: LOST }));
    it.attach(stored);
    expect(stored.epoch.value).toBe(1);
    expect(stored.status.value.state).toBe("streaming");
  });
});

test("what is kept of an endless answer is bounded, and can be gone on from", () => {
  const endless = new Answer(answer("a"));
  endless.grow("x".repeat(MAX_KEPT), "", 10);
  endless.grow("y", "", 11);
  expect(endless.text).toHaveLength(MAX_KEPT + 1);
  expect(endless.toRecord()).toMatchObject({ lastOffset: 10 });
  expect(endless.toRecord().text).toHaveLength(MAX_KEPT);
});
