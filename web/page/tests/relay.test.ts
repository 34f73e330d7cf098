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

const ME = {
  status: 200,
  body: {
    object: "caller",
    owner: "search",
    role: "member",
    key_id: "key_1",
    name: "laptop",
    keys_required: true,
    models: null,
    tags: {},
    limits: {},
    budget: { day_usd: "10" },
    spent: { day_usd: "3.4", month_usd: "20.100000001" },
    expires_at: null,
  },
};

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
    const ofModels = asked.filter(({ url }) => url === "/v1/models");
    expect(ofModels.map(({ headers }) => headers)).toEqual([{}, { Authorization: "Bearer secret" }]);
    expect(asked.some(({ url }) => url.includes("secret"))).toBe(false);
    expect(it.models.value.state).toBe("ready");
  });

  test("says who we are to it, and what we have spent", async () => {
    const { relay: it, asked } = relay([MODELS, ME]);
    await it.check();
    expect(asked.map(({ url }) => url)).toEqual(["/v1/models", "/v1/me"]);
    expect(it.caller.value).toEqual({
      owner: "search",
      role: "member",
      keyId: "key_1",
      keyName: "laptop",
      keysRequired: true,
      budget: { day: 10, month: null },
      spent: { day: 3.4, month: 20.100000001 },
      expiresAt: null,
    });
  });

  test("that refuses the key takes us for nobody any more, and asks for a key once", async () => {
    const { relay: it, key } = relay([MODELS, ME, { status: 401, body: null }, { status: 401, body: null }]);
    await it.check();
    await it.check();
    expect([it.caller.value, key.isWanted.value]).toEqual([null, true]);
    key.dismiss();
    await it.check();
    expect(key.isWanted.value).toBe(false);
  });

  test("that tells of another key's owner late is not believed", async () => {
    const { relay: it, key } = relay([ME]);
    const asking = it.identify();
    key.set("hr_other");
    await asking;
    expect(it.caller.value).toBeNull();
  });

  test("that is older than keys has no word for who we are", async () => {
    const { relay: it } = relay([MODELS, { status: 404, body: { error: {} } }]);
    await it.check();
    expect(it.caller.value).toBeNull();
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

  test("of a record include its bill", () => {
    const cost = { usd: null, basis: "estimated", rule: "delivered", prompt_tokens: 4, cached_tokens: 0 };
    expect(factsOf({ cost, generated_tokens: 9, delivered_tokens: 7 }).bill).toEqual({
      usd: null,
      isEstimated: true,
      rule: "delivered",
      promptTokens: 4,
      cachedTokens: 0,
      completionTokens: null,
      generatedTokens: 9,
      deliveredTokens: 7,
    });
  });

  test("of a record say where the answer came from, where the relay tells", () => {
    const record = { engine: "b", engine_model: "", source: "joined", attempts: [{}, {}], seams: [{}] };
    expect(factsOf(record).origin).toEqual({ engine: "b", engineModel: null, source: "joined", attempts: 2, seams: 1 });
    expect(factsOf({ engine: "b" }).origin).toBeUndefined();
  });

  test("of an answer that was there before it was asked for have no time below zero", () => {
    expect(factsOf({ created_at: 10, first_content_at: 9 }).ttftMs).toBe(0);
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
