import { describe, expect, test } from "vitest";
import { costOf, factsOf, tokensOf } from "../src/relay/json.ts";
import { Relay } from "../src/relay/relay.ts";
import { SessionKey } from "../src/store/key.ts";
import { FakeTimers } from "./fakes.ts";

type Reply = { status: number; body: unknown } | "lost";

function relay(replies: Reply[]) {
  const timers = new FakeTimers();
  const key = new SessionKey(null);
  const asked: { url: string; headers: unknown }[] = [];
  const around = {
    fetch: async (url: string, init: RequestInit) => {
      asked.push({ url, headers: init.headers });
      const reply = replies.shift() ?? "lost";
      if (reply === "lost") throw new TypeError("Failed to fetch");
      return new Response(JSON.stringify(reply.body), { status: reply.status });
    },
    now: () => 1000,
    after: timers.after,
    isOnline: () => online,
  };
  let online = true;
  const setOnline = (is: boolean) => {
    online = is;
  };
  return { relay: new Relay(around, key), key, timers, asked, setOnline };
}

const MODELS = { status: 200, body: { object: "list", data: [{ id: "one" }, { id: 7 }, null, { id: "two" }] } };

describe("the relay", () => {
  test("that answers is reachable and has models", async () => {
    const { relay: it } = relay([MODELS]);
    await it.check();
    expect(it.reach.value).toEqual({ state: "reachable" });
    expect(it.models.value).toEqual({ state: "ready", ids: ["one", "two"] });
  });

  test("that does not is asked again, later each time, until it does", async () => {
    const { relay: it, timers } = relay(["lost", "lost", MODELS]);
    await it.check();
    expect(it.reach.value).toEqual({ state: "unreachable", tryAt: 2000 });
    timers.fire();
    await expect.poll(() => it.reach.value).toEqual({ state: "unreachable", tryAt: 3000 });
    timers.fire();
    await expect.poll(() => it.reach.value.state).toBe("reachable");
    expect(timers.waits).toHaveLength(0);
  });

  test("a browser without network is not kept trying", async () => {
    const { relay: it, timers, setOnline, asked } = relay([MODELS]);
    setOnline(false);
    await it.check();
    expect(it.reach.value.state).toBe("offline");
    expect([asked.length, timers.waits.length]).toEqual([0, 0]);
    setOnline(true);
    it.networkChanged();
    await expect.poll(() => it.reach.value.state).toBe("reachable");
  });

  test("that answers 401 wants a key, and is then shown it as a bearer", async () => {
    const { relay: it, key, asked } = relay([{ status: 401, body: { error: { code: "invalid_api_key" } } }, MODELS]);
    await it.check();
    expect(key.isWanted.value).toBe(true);
    expect(it.models.value).toMatchObject({ state: "failed", wantsKey: true });
    key.set("secret");
    await it.check();
    expect(asked.map(({ headers }) => headers)).toEqual([{}, { Authorization: "Bearer secret" }]);
    expect(asked.some(({ url }) => url.includes("secret"))).toBe(false);
    expect(it.models.value.state).toBe("ready");
  });

  test("that has no models says why", async () => {
    const { relay: it } = relay([{ status: 502, body: { error: { message: "the engine is down" } } }]);
    await it.check();
    expect(it.models.value).toEqual({ state: "failed", message: "the engine is down", wantsKey: false });
  });

  test("a proxy's error page is not the relay", async () => {
    const { relay: it } = relay([{ status: 502, body: null }]);
    await it.check();
    expect(it.reach.value.state).toBe("unreachable");
  });

  test("gives a stream's record, or nothing", async () => {
    const { relay: it } = relay([{ status: 200, body: { id: "s" } }, { status: 404, body: { error: {} } }, "lost"]);
    expect(await it.stream("s")).toEqual({ id: "s" });
    expect(await it.stream("s")).toBeNull();
    expect(await it.stream("s")).toBeNull();
  });
});

describe("figures", () => {
  test("of a record are the relay's", () => {
    const record = {
      created_at: 10,
      first_content_at: 10.5,
      ended_at: 12.5,
      usage: { completion_tokens: 21, cost: 0.002 },
    };
    expect(factsOf(record)).toEqual({ tokens: 21, ttftMs: 500, tokensPerSecond: 10, cost: 0.002 });
  });

  test("that are not there are null", () => {
    expect(factsOf({ first_content_at: null, usage: null })).toEqual({
      tokens: null,
      ttftMs: null,
      tokensPerSecond: null,
      cost: null,
    });
    expect([tokensOf("x"), tokensOf({ completion_tokens: "3" }), costOf({ total_cost: 2 })]).toEqual([null, null, 2]);
  });
});
