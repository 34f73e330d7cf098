/** All stream cases, over real sockets, through the client as its callers see it. */

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { LLMStreamClient, type StreamError, type StreamResult } from "../src/index.ts";
import { type Connection, ScriptedServer } from "./scripted-server.ts";

interface Call {
  call: "chat" | "attach" | "eventsource";
  stream_id?: string;
  after?: number;
  merge?: boolean;
  stop_after?: number;
  idle_ms?: number;
  resume_for_ms?: number;
}

interface Report {
  text: string;
  offsets?: number[];
  state?: string;
  cause?: string;
  reconnects: number;
  cancels?: number;
  at_least_ms?: number;
  status?: number;
  retry_after_s?: number;
  error?: string;
}

interface Case {
  why: string;
  dialect: "chat" | "eventsource";
  client: Call;
  connections: Connection[];
  report: Report;
}

interface Told {
  text: string;
  offsets: number[];
  error: StreamError | null;
  completions: number;
  errors: number;
  result: StreamResult;
  tookMs: number;
}

const FOLDER = new URL("../../../tests/cases/", import.meta.url);
const CASES = new Map<string, Case>(
  readdirSync(fileURLToPath(FOLDER))
    .filter((name) => name.endsWith(".json"))
    .map((name) => [name.slice(0, -5), JSON.parse(readFileSync(new URL(name, FOLDER), "utf8"))]),
);
const chat = [...CASES].filter(([, each]) => each.dialect === "chat").map(([name]) => name);
const eventsource = [...CASES].filter(([, each]) => each.dialect === "eventsource").map(([name]) => name);

/** The causes of ends that nobody told: what the cases call `in_progress`. */
const UNKNOWN_ENDS = ["connection_lost", "stream_not_found", "stream_gone", "protocol_error"];

function clientOf(origin: string, { idle_ms = 5000, resume_for_ms = 5000 }: Call): LLMStreamClient {
  return new LLMStreamClient({
    baseURL: origin,
    resumeFor: resume_for_ms,
    config: { timeout: idle_ms, retryDelay: 20, chunkThrottle: 0 },
    // Waits are short, but not so short that giving up takes a thousand tries.
    random: () => 0.9,
  });
}

async function tell(client: LLMStreamClient, call: Call): Promise<Told> {
  const told = { text: "", offsets: [] as number[], error: null as StreamError | null, completions: 0, errors: 0 };
  const since = performance.now();
  const options: Parameters<LLMStreamClient["generate"]>[2] = {
    onChunk(update, generation) {
      told.text += update.text;
      // Where offsets cannot jump an update's entries are those from its first to its last.
      told.offsets.push(...offsetsOf(update.firstOffset, update.lastOffset, update.chunks.length));
      if (call.stop_after !== undefined && update.lastOffset >= call.stop_after) void generation.cancel();
    },
    onComplete: () => {
      told.completions += 1;
    },
    onError: (error) => {
      told.error = error;
      told.errors += 1;
    },
  };
  const payload = { messages: [{ role: "user", content: "hi" }] };
  const generation =
    call.call === "attach"
      ? client.attach(call.stream_id ?? "", { ...options, after: call.after ?? -1, merge: call.merge ?? false })
      : client.generate(call.call === "chat" ? "/v1/chat/completions" : "/v1/completions/stream", payload, options);
  const result = await generation.result;
  await Promise.resolve();
  return { ...told, result, tookMs: performance.now() - since };
}

function offsetsOf(first: number, last: number, count: number): number[] {
  if (last - first + 1 === count) return Array.from({ length: count }, (_, index) => first + index);
  return count === 1 ? [last] : [first, last].slice(0, count);
}

async function run(name: string): Promise<void> {
  const { client: call, connections, report } = CASES.get(name) ?? expect.fail(`no case ${name}`);
  const server = await ScriptedServer.listen(connections, call.stream_id ?? null);
  const client = clientOf(server.origin, call);
  try {
    const told = await tell(client, call);
    // A stop at the end goes out without anybody waiting for it.
    await expect.poll(() => server.cancels).toBe(report.cancels ?? 0);
    check(report, told);
    expect(server.problems).toEqual([]);
    expect(server.left).toEqual([]);
  } finally {
    client.close();
    await server.close();
  }
}

function check(report: Report, { text, offsets, error, result, completions, errors, tookMs }: Told): void {
  expect(text).toBe(report.text);
  expect(result.text).toBe(report.text);
  if (report.offsets !== undefined) expect(offsets).toEqual(report.offsets);
  const { status } = result;
  const cause = "cause" in status ? status.cause : null;
  if (report.state === "in_progress") expect(UNKNOWN_ENDS).toContain(cause);
  else if (report.state !== undefined) expect(status.state).toBe(report.state);
  if (report.cause !== undefined) expect(cause).toBe(report.cause);
  expect(result.metrics.reconnects).toBe(report.reconnects);
  expect(tookMs).toBeGreaterThanOrEqual(report.at_least_ms ?? 0);
  expect(error?.kind).toBe(report.error);
  expect([completions, errors]).toEqual(report.error === undefined ? [1, 0] : [0, 1]);
  if (report.status !== undefined) expect(error?.status).toBe(report.status);
  if (report.retry_after_s !== undefined) expect(error?.retryAfterMs).toBe(report.retry_after_s * 1000);
  const isLost = report.error === "lost";
  if (isLost) expect(status).toMatchObject({ state: "truncated", cause: "connection_lost", canResume: true });
}

test("every case is spoken", () => {
  expect(chat.length + eventsource.length).toBe(CASES.size);
  expect(chat.length).toBeGreaterThan(40);
  expect(eventsource.length).toBeGreaterThan(3);
});

describe("chat", () => {
  test.each(chat)("%s", run);
});

describe("eventsource", () => {
  test.each(eventsource)("%s", run);
});
