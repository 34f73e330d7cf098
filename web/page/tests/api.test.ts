import { expect, test, vi } from "vitest";
import { Api } from "../src/relay/api.ts";

/** An API whose relay gives this answer, and what was asked of it. */
function asking(status: number, body: string, key: string | null = "hr_key") {
  const fetch = vi.fn(async (_url: string, _init: RequestInit) => new Response(body, { status }));
  const refused = vi.fn();
  return { api: new Api(fetch, { value: key, refused }), fetch, refused };
}

test("a body goes as JSON, with the key as a bearer", async () => {
  const { api, fetch } = asking(201, '{"id":"k"}');
  expect(await api.json("POST", "/v1/keys", { body: { owner: "a" } })).toEqual({ id: "k" });
  const [url, init] = fetch.mock.calls[0] ?? [];
  expect([url, init?.method, init?.body]).toEqual(["/v1/keys", "POST", '{"owner":"a"}']);
  const headers = new Headers(init?.headers);
  expect([headers.get("authorization"), headers.get("content-type")]).toEqual(["Bearer hr_key", "application/json"]);
});

test("a file is asked for by its type and comes as it is", async () => {
  const { api, fetch } = asking(200, "model,requests\r\nm,1\r\n");
  expect(await (await api.file("/v1/usage", "text/csv")).text()).toBe("model,requests\r\nm,1\r\n");
  const headers = new Headers(fetch.mock.calls[0]?.[1].headers);
  expect([headers.get("accept"), headers.get("authorization")]).toEqual(["text/csv", "Bearer hr_key"]);
});

test("a file that is refused is no file", async () => {
  const { api, refused } = asking(401, '{"error":{"message":"no key","code":"invalid_api_key"}}');
  await expect(api.file("/v1/usage", "text/csv")).rejects.toMatchObject({ kind: "unauthorized", message: "no key" });
  expect(refused.mock.calls).toEqual([["hr_key"]]);
});

test("a refusal names the field, and who may", async () => {
  const wrong = asking(400, '{"error":{"message":"expected an owner","param":"owner"}}');
  await expect(wrong.api.json("GET", "/")).rejects.toMatchObject({ kind: "refused", param: "owner" });
  const forbidden = asking(403, '{"error":{"message":"admins only","code":"admin_required"}}');
  await expect(forbidden.api.json("GET", "/")).rejects.toMatchObject({ kind: "forbidden", param: null });
});
