import { expect, test } from "vitest";
import { OpenedModel } from "../../src/streams/opened_model.ts";
import { BUSY_MS, ENDED_MS } from "../../src/streams/pace.ts";
import { SourceError } from "../../src/streams/source.ts";
import { FakeSource } from "./fake_source.ts";
import { flushesAt, ManualSurroundings, settled, streamOf } from "./kit.ts";

function opening() {
  const source = new FakeSource();
  source.streams = [streamOf("a")];
  const surroundings = new ManualSurroundings();
  return { source, surroundings, model: new OpenedModel("a", source, surroundings, () => surroundings.nowS) };
}

test("the log is followed from its newest flush while the stream runs", async () => {
  const { source, surroundings, model } = opening();
  source.flushes = flushesAt([1, 2], 3);
  model.start();
  await settled();
  source.flushes = flushesAt([1, 2, 3], 3);
  await surroundings.pass(BUSY_MS);
  expect(source.timelineAfter).toEqual([-1, 3]);
  expect(model.state.value.timeline?.flushes.length).toBe(3);
  model.stop();
});

test("a log of many pages is read to its end", async () => {
  const { source, model } = opening();
  source.flushes = flushesAt(Array.from({ length: 25 }, (_, index) => index));
  source.pageSize = 10;
  model.start();
  await settled();
  expect(source.timelineAfter).toEqual([-1, 9, 19]);
  expect(model.state.value.isTimelineWhole).toBe(true);
  model.stop();
});

test("a page that promises more and brings nothing is not asked for for ever", async () => {
  const { source, model } = opening();
  source.timeline = async (_id, after) => {
    source.timelineAfter.push(after);
    return { flushes: [], hasMore: true, entries: 0, bytes: 0 };
  };
  model.start();
  await settled();
  expect(source.timelineAfter.length).toBe(1);
  model.stop();
});

test("once the stream has ended it is asked about rarely", async () => {
  const { source, surroundings, model } = opening();
  source.set(streamOf("a", { state: "completed" }));
  model.start();
  await settled();
  await surroundings.pass(ENDED_MS - 1);
  expect(source.timelineAfter.length).toBe(1);
  await surroundings.pass(1);
  expect(source.timelineAfter.length).toBe(2);
  model.stop();
});

test("a log that was cut back is read from its start", async () => {
  const { source, surroundings, model } = opening();
  source.flushes = flushesAt([1, 2, 3]);
  model.start();
  await settled();
  source.flushes = flushesAt([1]);
  await surroundings.pass(BUSY_MS);
  expect(source.timelineAfter).toEqual([-1, 2, -1]);
  expect(model.state.value.timeline?.flushes.length).toBe(1);
  expect(model.state.value.problem).toBeNull();
  model.stop();
});

test("while the relay does not answer, the moment that is shown stands still", async () => {
  const { source, surroundings, model } = opening();
  model.start();
  await settled();
  await surroundings.pass(BUSY_MS);
  expect(model.state.value.heardAt).toBe(1001);
  source.failure = new SourceError("unreachable", "no answer");
  await surroundings.pass(BUSY_MS);
  expect(model.state.value).toMatchObject({ heardAt: 1001, problem: { kind: "unreachable" } });
  model.stop();
});

test("a relay without timelines is no problem", async () => {
  const { source, model } = opening();
  source.hasTimeline = false;
  model.start();
  await settled();
  expect(model.state.value).toMatchObject({ timeline: null, problem: null, isTimelineWhole: true });
  model.stop();
});

test("stopping shows the stream as it is then; what cannot be done is told", async () => {
  const { source, model } = opening();
  model.start();
  await settled();
  await model.cancel();
  expect(model.state.value.stream?.state).toBe("cancelled");
  source.failure = new SourceError("unreachable", "no answer");
  expect(await model.erase()).toBe(false);
  expect(model.state.value).toMatchObject({ refusal: { message: "no answer" }, doing: null });
  model.stop();
});

test("after it was erased nothing more is asked", async () => {
  const { source, surroundings, model } = opening();
  model.start();
  await settled();
  expect(await model.erase()).toBe(true);
  const asked = source.calls.length;
  await surroundings.pass(60_000);
  expect(source.calls.length).toBe(asked);
});
