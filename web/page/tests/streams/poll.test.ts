import { expect, test } from "vitest";
import { Poll } from "../../src/streams/poll.ts";
import { ManualSurroundings, settled } from "./kit.ts";

/** A task whose questions are answered by hand. */
class Questions {
  readonly open: { answer: (ms: number) => void; signal: AbortSignal }[] = [];
  asked = 0;

  readonly ask = (signal: AbortSignal): Promise<number> => {
    this.asked += 1;
    return new Promise((answer) => this.open.push({ answer, signal }));
  };

  async answer(ms: number): Promise<void> {
    this.open.shift()?.answer(ms);
    await settled();
  }
}

function polling() {
  const surroundings = new ManualSurroundings();
  const questions = new Questions();
  return { surroundings, questions, poll: new Poll(questions.ask, surroundings) };
}

test("it asks at once, then each time as long after the answer as the answer says", async () => {
  const { surroundings, questions, poll } = polling();
  poll.start();
  expect(questions.asked).toBe(1);
  await questions.answer(1000);
  await surroundings.pass(999);
  expect(questions.asked).toBe(1);
  await surroundings.pass(1);
  expect(questions.asked).toBe(2);
});

test("it never asks twice at once", async () => {
  const { surroundings, questions, poll } = polling();
  poll.start();
  poll.start();
  poll.now();
  surroundings.setHidden(true);
  surroundings.setHidden(false);
  await surroundings.pass(60_000);
  expect(questions.asked).toBe(1);
});

test("wanted while it asks, it asks again at once", async () => {
  const { questions, poll } = polling();
  poll.start();
  poll.now();
  await questions.answer(1000);
  expect(questions.asked).toBe(2);
});

test("wanted while it waits, it waits no longer", async () => {
  const { surroundings, questions, poll } = polling();
  poll.start();
  await questions.answer(1000);
  poll.now();
  expect(questions.asked).toBe(2);
  expect(surroundings.timers).toBe(0);
});

test("it asks nothing while hidden, and at once when shown", async () => {
  const { surroundings, questions, poll } = polling();
  poll.start();
  await questions.answer(1000);
  surroundings.setHidden(true);
  await surroundings.pass(60_000);
  expect(questions.asked).toBe(1);
  surroundings.setHidden(false);
  expect(questions.asked).toBe(2);
});

test("hidden while it asks, it asks no more; started while hidden, it waits to be shown", async () => {
  const { surroundings, questions, poll } = polling();
  surroundings.setHidden(true);
  poll.start();
  expect(questions.asked).toBe(0);
  surroundings.setHidden(false);
  surroundings.setHidden(true);
  await questions.answer(1000);
  await surroundings.pass(60_000);
  expect(questions.asked).toBe(1);
});

test("stopped, it aborts its question and leaves neither timer nor listener", async () => {
  const { surroundings, questions, poll } = polling();
  poll.start();
  const signal = questions.open[0]?.signal;
  poll.stop();
  expect(signal?.aborted).toBe(true);
  await questions.answer(1000);
  expect([surroundings.timers, surroundings.listeners]).toEqual([0, 0]);
  await surroundings.pass(60_000);
  expect(questions.asked).toBe(1);
});

test("started again while an old question is open, only the new one counts", async () => {
  const { surroundings, questions, poll } = polling();
  poll.start();
  poll.stop();
  poll.start();
  expect(questions.asked).toBe(2);
  await questions.answer(0);
  await surroundings.pass(60_000);
  expect(questions.asked).toBe(2);
  await questions.answer(1000);
  await surroundings.pass(1000);
  expect(questions.asked).toBe(3);
});
