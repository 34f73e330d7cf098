import { expect, test, vi } from "vitest";
import { Api } from "../../src/relay/api.ts";
import { RelayUsage } from "../../src/usage/source.ts";

const QUESTION = { days: { first: "2026-11-01", last: "2026-11-30" }, by: "tag:team" };
const never = new AbortController().signal;

function asking(body: string) {
  const fetch = vi.fn(async (_url: string, _init: RequestInit) => new Response(body));
  return { source: new RelayUsage(new Api(fetch, { value: null, refused: () => {} })), fetch };
}

test("usage is asked for from the first day to the end of the last", async () => {
  const { source, fetch } = asking('{"data":[],"total":{},"has_more":false}');
  expect(await source.report(QUESTION, never)).toMatchObject({ lines: [], hasMore: false });
  expect(fetch.mock.calls[0]?.[0]).toBe("/v1/usage?since=2026-11-01&until=2026-12-01&by=tag%3Ateam&limit=1000");
});

test("a file is asked for as CSV, all of it", async () => {
  const { source, fetch } = asking("team,requests");
  await source.csv(QUESTION);
  expect(fetch.mock.calls[0]?.[0]).toBe("/v1/usage?since=2026-11-01&until=2026-12-01&by=tag%3Ateam&format=csv");
});

test("what is no usage is refused; keys without a name are called by their ids", async () => {
  await expect(asking("{}").source.report(QUESTION, never)).rejects.toMatchObject({ kind: "refused" });
  const { source } = asking('{"data":[{"id":"key_1","name":""},{"id":"key_2","name":"laptop"},null]}');
  expect([...(await source.keyNames(never))]).toEqual([
    ["key_1", "key_1"],
    ["key_2", "laptop"],
  ]);
});
