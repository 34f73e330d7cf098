import { expect, test } from "vitest";
import { readEngines } from "../../src/streams/engine.ts";
import { EnginesModel } from "../../src/streams/engines_model.ts";
import { SourceError } from "../../src/streams/source.ts";
import { FakeSource } from "./fake_source.ts";
import { ManualSurroundings, settled } from "./kit.ts";

export const REPORT = {
  object: "list",
  data: [
    {
      engine: "claude",
      model: "claude-sonnet-4-5",
      standing: "resting",
      breaker: "open",
      ready_in_s: 4.2,
      is_slow: false,
      failures_in_a_row: 5,
      requests: 9,
      failed: 6,
      limited: 1,
      first_token: { count: 3, p50_s: 0.2, p90_s: 0.4, p99_s: 0.4 },
      longest_gap: null,
    },
    { engine: "local", model: "", standing: "ready", first_token: null },
    { model: "nobody's" },
  ],
};

test("a report is read; what it does not tell is unknown, or none", () => {
  expect(readEngines(REPORT)).toEqual([
    {
      engine: "claude",
      model: "claude-sonnet-4-5",
      standing: "resting",
      readyInS: 4.2,
      isSlow: false,
      failuresInARow: 5,
      requests: 9,
      failed: 6,
      limited: 1,
      firstTokenP50S: 0.2,
      firstTokenP90S: 0.4,
    },
    expect.objectContaining({ engine: "local", model: null, requests: 0, firstTokenP50S: null }),
  ]);
  expect([readEngines(null), readEngines({ data: "none" })]).toEqual([[], []]);
});

function model() {
  const [source, surroundings] = [new FakeSource(), new ManualSurroundings()];
  source.health = readEngines(REPORT);
  return { source, surroundings, it: new EnginesModel(source, surroundings) };
}

test("engines are asked for every five seconds while they are looked at, and not while the tab is hidden", async () => {
  const { source, surroundings, it } = model();
  it.start();
  await settled();
  expect(it.engines.value.map(({ engine }) => engine)).toEqual(["claude", "local"]);
  await surroundings.pass(5000);
  expect(source.calls).toEqual(["engines", "engines"]);
  surroundings.setHidden(true);
  await surroundings.pass(60_000);
  expect(source.calls).toHaveLength(2);
  surroundings.setHidden(false);
  await settled();
  expect(source.calls).toHaveLength(3);
  it.stop();
  expect([surroundings.timers, surroundings.listeners]).toEqual([0, 0]);
});

test("what was heard last stays while the relay does not answer", async () => {
  const { source, surroundings, it } = model();
  it.start();
  await settled();
  source.failure = new SourceError("unreachable", "Failed to fetch");
  await surroundings.pass(5000);
  expect(it.engines.value).toHaveLength(2);
  source.failure = null;
  source.health = [];
  await surroundings.pass(1000);
  expect(it.engines.value).toEqual([]);
  it.stop();
});

test("a relay that does not tell is asked once a minute", async () => {
  const { source, surroundings, it } = model();
  source.health = null;
  it.start();
  await settled();
  await surroundings.pass(59_000);
  expect(source.calls).toHaveLength(1);
  await surroundings.pass(1000);
  expect(source.calls).toHaveLength(2);
  it.stop();
});
