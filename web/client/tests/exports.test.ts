import { expect, test } from "vitest";
import * as client from "../src/index.ts";

test("what the package exports is what is meant", () => {
  expect(Object.keys(client).sort()).toEqual(["LLMStreamClient", "STREAM_CONFIG", "StreamError"]);
});

test("the defaults are those that are promised", () => {
  expect(client.STREAM_CONFIG).toEqual({
    endpoint: "/api/v1/chat/stream",
    timeout: 30000,
    retryAttempts: 2,
    retryDelay: 800,
    chunkThrottle: 16,
    maxBufferSize: 50,
    metrics: { ttft: true, tpot: true, cancellation: true, finishReason: true, report: false },
    incrementalFilter: false,
    maxTokens: 2048,
    temperature: 0.7,
  });
});
