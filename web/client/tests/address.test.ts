import { expect, test } from "vitest";
import { addressOf, rootOf, socketURL, streamURL } from "../src/address.ts";

test.each([
  ["/api/v1/chat/stream", "http://h:1", "http://h:1/api/v1/chat/stream", "http://h:1"],
  ["/v1/chat/completions", "http://h/llm/", "http://h/llm/v1/chat/completions", "http://h/llm"],
  ["/v1/chat/completions", "http://h/llm/v1", "http://h/llm/v1/chat/completions", "http://h/llm"],
  ["https://h/x/v1/chat/completions", "http://other", "https://h/x/v1/chat/completions", "https://h/x"],
  ["https://h/v1/completions/stream", null, "https://h/v1/completions/stream", "https://h"],
  ["https://h/openai/v1/responses", null, "https://h/openai/v1/responses", "https://h/openai"],
  ["https://h/chat", null, "https://h/chat", "https://h"],
])("%s below %s", (endpoint, base, url, root) => {
  expect(addressOf(endpoint, base)).toMatchObject({ url, root });
});

test("a relay's other routes begin at its root", () => {
  expect(rootOf("https://h/llm/v1/")).toBe("https://h/llm");
  expect(socketURL("https://h/llm")).toBe("wss://h/llm/v1/stream");
  expect(streamURL("http://h", "a/b", "/events?after=1")).toBe("http://h/v1/streams/a%2Fb/events?after=1");
});

test.each([
  ["/v1/chat/completions", null],
  ["ftp://h/v1", null],
  ["/x", "not a url"],
])("%s below %s is no address", (endpoint, base) => {
  expect(() => addressOf(endpoint, base)).toThrow(TypeError);
});
