import { expect, test } from "vitest";
import { isRunning, readStream, readStreamPage } from "../../src/streams/stream.ts";

const FULL = {
  id: "strm_1",
  object: "stream",
  state: "truncated",
  cause: "upstream_stalled",
  finish_reason: null,
  model: "sim",
  engine: "openai",
  engine_model: "gpt",
  source: "engine",
  log_id: "strm_1",
  attempts: [],
  seams: [],
  retry_budget: null,
  request_id: "req_1",
  created_at: 1000.5,
  first_content_at: 1001,
  ended_at: 1031,
  usage: { prompt_tokens: 4, completion_tokens: 90, total_tokens: 94 },
  tokens_source: "counted",
  bytes: 2100,
  malformed_chunks: 0,
  durability: "durable",
  message: "no content for idle = 30 s",
  consumers: 2,
  lag: 7,
  owner: "search",
  key_id: "key_1",
  tags: { team: "search", bad: 7 },
  generated_tokens: 90,
  delivered_tokens: 80,
  cost: { usd: "0.0035", basis: "reported", rule: "generated", prompt_tokens: 4, completion_tokens: 90 },
  perceived: { first_byte_ms: 5, first_token_ms: 40.5, first_visible_ms: null, reconnects: 1, transport: "websocket" },
};

test("a stream is read whole", () => {
  expect(readStream(FULL)).toEqual({
    id: "strm_1",
    state: "truncated",
    cause: "upstream_stalled",
    message: "no content for idle = 30 s",
    finishReason: null,
    model: "sim",
    engine: "openai",
    engineModel: "gpt",
    source: "engine",
    logId: "strm_1",
    attempts: [],
    seams: [],
    retryBudgetS: null,
    requestId: "req_1",
    owner: "search",
    keyId: "key_1",
    tags: [["team", "search"]],
    generatedTokens: 90,
    deliveredTokens: 80,
    bill: {
      usd: 0.0035,
      isEstimated: false,
      rule: "generated",
      promptTokens: 4,
      cachedTokens: null,
      completionTokens: 90,
      generatedTokens: 90,
      deliveredTokens: 80,
    },
    createdAt: 1000.5,
    firstContentAt: 1001,
    endedAt: 1031,
    promptTokens: 4,
    completionTokens: 90,
    tokensSource: "counted",
    bytes: 2100,
    malformedChunks: 0,
    durability: "durable",
    consumers: 2,
    lag: 7,
    perceived: {
      firstByteMs: 5,
      firstTokenMs: 40.5,
      firstVisibleMs: null,
      tpotMs: null,
      totalMs: null,
      reconnects: 1,
      transport: "websocket",
    },
  });
});

test("what a relay does not tell, or tells in another type, is unknown", () => {
  const stream = readStream({
    id: "strm_1",
    state: "paused",
    usage: [],
    bytes: "many",
    created_at: null,
    lag: Number.NaN,
  });
  expect(stream).toMatchObject({ state: "unknown", bytes: null, createdAt: null, lag: null, consumers: null });
  expect(stream).toMatchObject({ promptTokens: null, perceived: null, model: null });
});

test.each([[null], ["strm_1"], [[]], [{}], [{ id: 7 }], [{ id: "" }]])("%j is no stream", (value) => {
  expect(readStream(value)).toBeNull();
});

test("a page leaves out what is no stream", () => {
  const page = readStreamPage({ object: "list", data: [FULL, null, { id: 1 }], has_more: true });
  expect(page.streams.map(({ id }) => id)).toEqual(["strm_1"]);
  expect(page.hasMore).toBe(true);
  expect(readStreamPage("no")).toEqual({ streams: [], hasMore: false });
});

test.each([
  ["queued", true],
  ["in_progress", true],
  ["completed", false],
  ["cancelled", false],
  ["truncated", false],
  ["failed", false],
  ["paused", false],
])("a stream that is %s runs: %s", (state, runs) => {
  const stream = readStream({ ...FULL, state });
  expect(stream !== null && isRunning(stream)).toBe(runs);
});
