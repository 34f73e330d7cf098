import { expect, test, vi } from "vitest";
import { RelaySource } from "../../src/streams/relay_source.ts";
import type { FollowHandlers, StreamsServices } from "../../src/streams/services.ts";

const STREAM = { id: "a b", state: "in_progress" };
const never = new AbortController().signal;

/** A source whose relay gives this answer, and what was asked of it. */
function asking(status: number, body: unknown, key: string | null = null) {
  const handlers: FollowHandlers[] = [];
  const detach = vi.fn();
  const refused = vi.fn();
  const services: StreamsServices = {
    client: {
      attach(_id, given) {
        handlers.push(given);
        return { detach };
      },
    },
    key: { value: key, refused },
  };
  const text = body === undefined ? "<html>" : JSON.stringify(body);
  const fetch = vi.fn(
    async (_url: string, _init: RequestInit) => new Response(status === 204 ? null : text, { status }),
  );
  return { source: new RelaySource(services, fetch), refused, fetch, handlers, detach };
}

test("the list is asked for by state, age and number", async () => {
  const { source, fetch } = asking(200, { data: [STREAM], has_more: true });
  const page = await source.list({ state: "failed", after: "x", limit: 20 }, never);
  expect(page.streams[0]?.id).toBe("a b");
  expect(fetch.mock.calls[0]?.[0]).toBe("/v1/streams?limit=20&state=failed&after=x");
});

test("a key goes as a bearer, never into the address", async () => {
  const { source, fetch } = asking(200, STREAM, "secret");
  await source.stream("a b", never);
  const [url, init] = fetch.mock.calls[0] ?? [];
  expect(url).toBe("/v1/streams/a%20b");
  expect(new Headers(init?.headers).get("authorization")).toBe("Bearer secret");
});

test("stopping and erasing use their methods", async () => {
  const stopping = asking(200, STREAM);
  await stopping.source.cancel("a");
  expect(stopping.fetch.mock.calls[0]).toMatchObject(["/v1/streams/a/cancel", { method: "POST" }]);
  const erasing = asking(204, null);
  await erasing.source.erase("a");
  expect(erasing.fetch.mock.calls[0]).toMatchObject(["/v1/streams/a", { method: "DELETE" }]);
});

test("what somebody else erased is erased", async () => {
  await expect(asking(404, { error: { message: "gone" } }).source.erase("a")).resolves.toBeUndefined();
});

test.each([[404], [405], [410]])("a timeline answered %d is unknown", async (status) => {
  expect(await asking(status, { error: { message: "no" } }).source.timeline("a", -1, never)).toBeNull();
});

test.each([
  [404, { error: { message: "there is no stream" } }, "not_found", "there is no stream"],
  [401, { error: { message: "a key is needed" } }, "unauthorized", "a key is needed"],
  [400, { error: { message: "after: no" } }, "refused", "after: no"],
  [503, { error: { message: "shutting down" } }, "refused", "shutting down"],
  [502, undefined, "unreachable", "the relay answered 502"],
  [200, { id: 7 }, "refused", "the relay answered something that is not a stream"],
])("an answer of %d with %j is a problem of kind %s", async (status, body, kind, message) => {
  await expect(asking(status, body).source.stream("a", never)).rejects.toMatchObject({ kind, message });
});

test("no answer at all means that the relay is unreachable", async () => {
  const { source, fetch } = asking(200, STREAM);
  fetch.mockRejectedValueOnce(new TypeError("Failed to fetch"));
  await expect(source.stream("a", never)).rejects.toMatchObject({ kind: "unreachable" });
});

test("a 401 tells the page which key was refused", async () => {
  const { source, refused } = asking(401, { error: { message: "no", code: "invalid_api_key" } }, "hr_old");
  await source.stream("a", never).catch(() => {});
  expect(refused.mock.calls).toEqual([["hr_old"]]);
});

test("an abort reaches the request", async () => {
  const { source, fetch } = asking(200, STREAM);
  const abort = new AbortController();
  await source.stream("a", abort.signal);
  abort.abort();
  expect(fetch.mock.calls[0]?.[1].signal?.aborted).toBe(true);
});

test("following gives text, reasoning and troubles, and leaving only detaches", () => {
  const { source, handlers, detach } = asking(200, null);
  const said: unknown[] = [];
  const leave = source.follow("a", {
    onText: (text) => said.push(["text", text]),
    onReasoning: (text) => said.push(["reasoning", text]),
    onNote: (note) => said.push(["note", note]),
    onEnd: () => said.push(["end"]),
  });
  handlers[0]?.onChunk({ text: "hi", reasoning: "hm" });
  handlers[0]?.onState({ state: "reconnecting" });
  handlers[0]?.onState({ state: "streaming" });
  handlers[0]?.onState({ state: "truncated", cause: "connection_lost" });
  handlers[0]?.onState({ state: "completed", cause: "stop" });
  leave();
  expect(said).toEqual([
    ["reasoning", "hm"],
    ["text", "hi"],
    ["note", "Connection lost, resuming…"],
    ["note", null],
    ["note", "Connection lost; open the stream again to go on"],
    ["end"],
    ["note", null],
    ["end"],
  ]);
  expect(detach).toHaveBeenCalledOnce();
});
