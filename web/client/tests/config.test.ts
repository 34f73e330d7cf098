import { afterEach, describe, expect, test, vi } from "vitest";
import { configOf, STREAM_CONFIG } from "../src/config.ts";

describe("a config", () => {
  test("is the defaults with what was given over them", () => {
    expect(configOf({ timeout: 5, metrics: { report: true } })).toEqual({
      ...STREAM_CONFIG,
      timeout: 5,
      metrics: { ...STREAM_CONFIG.metrics, report: true },
    });
  });

  test.each([
    ["timeout", 0, RangeError],
    ["timeout", "30", TypeError],
    ["timeout", Number.NaN, RangeError],
    ["retryAttempts", -1, RangeError],
    ["retryAttempts", 0.5, RangeError],
    ["retryDelay", Number.POSITIVE_INFINITY, RangeError],
    ["chunkThrottle", -1, RangeError],
    ["maxBufferSize", 0, RangeError],
    ["maxTokens", 0, RangeError],
    ["temperature", 2.1, RangeError],
    ["endpoint", "", TypeError],
    ["incrementalFilter", true, TypeError],
    ["metrics", { ttft: 1 }, TypeError],
    ["metrics", { ttfb: true }, TypeError],
    ["timeOut", 1, TypeError],
  ])("with %s = %j is refused by name", (name, value, kind) => {
    const wrong = (): unknown => Reflect.apply(configOf, null, [{ [name]: value }]);
    expect(wrong).toThrow(kind);
    expect(wrong).toThrow(`config.${name}`);
  });
});

describe("the endpoint of the build", () => {
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.unstubAllGlobals();
    vi.resetModules();
  });

  async function endpoint(): Promise<string> {
    vi.resetModules();
    return (await import("../src/config.ts")).STREAM_CONFIG.endpoint;
  }

  test("is LLM_STREAM_ENDPOINT where that is set", async () => {
    vi.stubEnv("LLM_STREAM_ENDPOINT", "https://h/v1/chat/completions");
    expect(await endpoint()).toBe("https://h/v1/chat/completions");
  });

  test("is the default where it is empty, or there is no process", async () => {
    vi.stubEnv("LLM_STREAM_ENDPOINT", "");
    expect(await endpoint()).toBe("/api/v1/chat/stream");
  });
});
