import { expect, test } from "vitest";
import { ListModel, PAGE_ROWS } from "../../src/streams/list_model.ts";
import { BUSY_MS, IDLE_MS } from "../../src/streams/pace.ts";
import { SourceError } from "../../src/streams/source.ts";
import { FakeSource } from "./fake_source.ts";
import { ManualSurroundings, settled, streamOf } from "./kit.ts";

function listing() {
  const source = new FakeSource();
  const surroundings = new ManualSurroundings();
  return { source, surroundings, model: new ListModel(source, surroundings, () => 1000) };
}

const many = (count: number, state = "completed") =>
  Array.from({ length: count }, (_, index) => streamOf(`s${count - index}`, { created_at: 5000 - index, state }));

test("it asks every second while something runs, and more rarely when nothing does", async () => {
  const { source, surroundings, model } = listing();
  source.streams = many(1, "in_progress");
  model.start();
  await settled();
  source.streams = many(1);
  await surroundings.pass(BUSY_MS);
  expect(source.questions.length).toBe(2);
  await surroundings.pass(BUSY_MS);
  expect(source.questions.length).toBe(2);
  await surroundings.pass(IDLE_MS - BUSY_MS);
  expect(source.questions.length).toBe(3);
  model.stop();
});

test("older pages are put behind, and the next refresh covers them", async () => {
  const { source, surroundings, model } = listing();
  source.streams = many(50);
  model.start();
  await settled();
  await model.older();
  expect(model.state.value.loaded.streams.length).toBe(2 * PAGE_ROWS);
  expect(source.questions.at(-1)?.after).toBe("s31");
  source.streams = source.streams.filter(({ id }) => id !== "s15");
  await surroundings.pass(IDLE_MS);
  expect(source.questions.at(-1)?.limit).toBe(2 * PAGE_ROWS);
  const ids = model.state.value.loaded.streams.map(({ id }) => id);
  expect(ids).not.toContain("s15");
  expect(ids.at(-1)).toBe("s10");
  model.stop();
});

test("two presses of Older load one page", async () => {
  const { source, model } = listing();
  source.streams = many(80);
  model.start();
  await settled();
  await Promise.all([model.older(), model.older()]);
  expect(model.state.value.loaded.streams.length).toBe(2 * PAGE_ROWS);
  model.stop();
});

test("a filter asks for its state alone, and what comes late for another one is dropped", async () => {
  const { source, model } = listing();
  source.streams = [...many(30), streamOf("bad", { state: "failed", created_at: 1 })];
  model.start();
  await settled();
  const late = model.older();
  model.show("failed");
  await late;
  await settled();
  expect(source.questions.at(-1)?.state).toBe("failed");
  expect(model.state.value.loaded.streams.map(({ id }) => id)).toEqual(["bad"]);
  expect(model.state.value.isLoadingOlder).toBe(false);
  model.stop();
});

test("what runs behind the newest hundred is asked for by itself, a few at a time", async () => {
  const { source, surroundings, model } = listing();
  source.streams = [
    ...many(100),
    ...many(12, "in_progress").map((stream) => ({ ...stream, id: `old-${stream.id}`, createdAt: 9 })),
  ];
  model.start();
  await settled();
  for (let page = 0; page < 5; page += 1) {
    await model.older();
  }
  expect(model.state.value.loaded.streams.length).toBe(112);
  source.streams = source.streams.map((stream) => ({ ...stream, state: "completed" as const }));
  source.streams = source.streams.filter(({ id }) => id !== "old-s12");
  await surroundings.pass(IDLE_MS);
  expect(source.calls.length).toBe(4);
  await surroundings.pass(BUSY_MS);
  await surroundings.pass(BUSY_MS);
  await surroundings.pass(BUSY_MS);
  const { streams } = model.state.value.loaded;
  expect(streams.length).toBe(111);
  expect(streams.filter(({ state }) => state === "in_progress")).toEqual([]);
  model.stop();
});

test("when the relay does not answer, what was known stays, and it tries ever more rarely", async () => {
  const { source, surroundings, model } = listing();
  source.streams = many(3);
  model.start();
  await settled();
  source.failure = new SourceError("unreachable", "refused");
  await surroundings.pass(IDLE_MS);
  expect(model.state.value.problem?.kind).toBe("unreachable");
  expect(model.state.value.loaded.streams.length).toBe(3);
  const asked = source.questions.length;
  await surroundings.pass(1000);
  await surroundings.pass(1000);
  expect(source.questions.length).toBe(asked + 1);
  source.failure = null;
  model.retry();
  await settled();
  expect(model.state.value.problem).toBeNull();
  model.stop();
});

test("an erased stream is out at once", async () => {
  const { source, model } = listing();
  source.streams = many(3);
  model.start();
  await settled();
  model.forget("s2");
  expect(model.state.value.loaded.streams.map(({ id }) => id)).toEqual(["s3", "s1"]);
  model.stop();
});
