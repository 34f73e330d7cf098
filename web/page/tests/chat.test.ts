import { describe, expect, test } from "vitest";
import { Chat } from "../src/chat/chat.ts";
import { Runs } from "../src/chat/runs.ts";
import { MAX_VERSIONS } from "../src/chat/thread.ts";
import { Library } from "../src/store/library.ts";
import { MemoryRecords } from "../src/store/memory.ts";
import { COMPLETE, FakeClient, FakeTabs, FakeTimers, LOST, settle } from "./fakes.ts";

const NO_SAMPLING = { temperature: null, maxTokens: null, topP: null, seed: null };

/** Records that outlive a tab, as a database does. */
class SharedRecords extends MemoryRecords {
  override readonly isKept: boolean = true;
}

/** A tab; tabs that are given the same records and tabs are of one browser. */
function tab(records: MemoryRecords = new SharedRecords(), tabs = new FakeTabs()) {
  const client = new FakeClient();
  const timers = new FakeTimers();
  const others = tabs.open();
  const library = new Library(records, others);
  const runs: Runs = new Runs({
    client,
    endpoint: "/chat",
    save: (record) => library.saveAnswer(record),
    onEnd: (answer) => chat.ended(answer),
    after: timers.after,
  });
  const manner = { model: "m", system: "Be brief.", sampling: { ...NO_SAMPLING, temperature: 0 } };
  let time = 0;
  const now = () => {
    time += 1;
    return time;
  };
  const chat = new Chat({ library, runs, random: crypto, now, manner: () => manner });
  others.listen((message) => {
    if (message.type === "removed") void chat.removedElsewhere(message.conversationId);
    else void chat.changedElsewhere(message.conversationId);
  });
  return { chat, client, timers, library, runs, records, tabs };
}

async function askedAndAnswered(text: string, answered: string) {
  const it = tab();
  const thread = it.chat.thread("c");
  await settle();
  it.chat.ask(thread, text);
  it.client.last.say(answered);
  it.client.last.end(COMPLETE);
  await settle();
  return { ...it, thread };
}

describe("asking", () => {
  test("sends the system prompt, what was said, and the question", async () => {
    const { chat, client, thread } = await askedAndAnswered("Why?", "Because.");
    chat.ask(thread, "And then?");
    expect(client.last.payload).toEqual({
      model: "m",
      temperature: 0,
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "Why?" },
        { role: "assistant", content: "Because." },
        { role: "user", content: "And then?" },
      ],
    });
  });

  test("leaves out questions that got no answer", async () => {
    const { chat, client, thread } = await askedAndAnswered("Why?", " ");
    chat.ask(thread, "And then?");
    expect(client.last.said).toEqual(["Be brief.", "And then?"]);
  });

  test("keeps the stream's id before anything came, so that a reload finds it", async () => {
    const { chat, client, records } = tab();
    chat.ask(chat.thread("c"), "Why?");
    await settle();
    expect((await records.openAnswers(9)).map(({ streamId }) => streamId)).toEqual([client.last.streamId]);
  });

  test("names differ", async () => {
    const { chat, client } = tab();
    for (const id of ["a", "b", "c"]) chat.ask(chat.thread(id), "Why?");
    expect(new Set(client.calls.map(({ streamId }) => streamId)).size).toBe(3);
    expect(client.last.streamId).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
  });
});

describe("a reload in mid-answer", () => {
  test("goes on with the same answer, behind what was kept", async () => {
    const before = tab();
    const thread = before.chat.thread("c");
    await settle();
    before.chat.ask(thread, "Why?");
    before.client.last.say("Be");
    before.runs.flush();
    await settle();
    const after = tab(before.records);
    await after.chat.begin();
    const again = after.chat.thread("c");
    await settle();
    expect([after.client.last.streamId, after.client.last.after]).toEqual([before.client.last.streamId, 0]);
    after.client.last.say("cause");
    after.client.last.end(COMPLETE);
    await settle();
    expect(again.latest.value?.text).toBe("Because");
    expect(again.latest.value?.status.value).toEqual(COMPLETE);
  });
});

describe("two tabs", () => {
  test("follow one stream and show one answer", async () => {
    const first = tab();
    const second = tab(first.records, first.tabs);
    const there = second.chat.thread("c");
    await settle();
    first.chat.ask(first.chat.thread("c"), "Why?");
    await settle();
    expect(second.client.last.streamId).toBe(first.client.last.streamId);
    second.client.last.say("Because");
    expect(there.latest.value?.text).toBe("Because");
    expect(second.runs.busy.value.has("c")).toBe(true);
    first.client.last.say("Because");
    first.client.last.end(COMPLETE);
    second.client.last.end(COMPLETE);
    await settle();
    expect(await first.records.messages("c")).toHaveLength(2);
    expect(there.latest.value?.text).toBe("Because");
  });

  test("a conversation that one removes is empty in the other", async () => {
    const { chat, records, tabs } = await askedAndAnswered("Why?", "Because.");
    const second = tab(records, tabs);
    const there = second.chat.thread("c");
    await second.chat.begin();
    await settle();
    expect(there.turns.value).toHaveLength(1);
    await chat.remove("c");
    await settle();
    expect(there.turns.value).toHaveLength(0);
    expect(second.library.conversations.value).toHaveLength(0);
  });
});

test("a question asked while the conversation is read is not lost", async () => {
  const { chat, records, tabs } = await askedAndAnswered("Why?", "Because.");
  const second = tab(records, tabs);
  const there = second.chat.thread("c");
  await settle();
  const read = second.chat.changedElsewhere("c");
  second.chat.ask(there, "And?");
  await read;
  await settle();
  expect(there.turns.value.map(({ question }) => question.text)).toEqual(["Why?", "And?"]);
  expect(chat.thread("c").turns.value).toHaveLength(2);
});

describe("retry", () => {
  test("asks the same question and keeps the answer there was as an earlier version", async () => {
    const { chat, client, thread, records } = await askedAndAnswered("Why?", "Bad.");
    chat.retry(thread);
    client.last.say("Good.");
    client.last.end(COMPLETE);
    await settle();
    const [turn] = thread.turns.value;
    expect(turn?.answers.map(({ text }) => text)).toEqual(["Bad.", "Good."]);
    expect(thread.latest.value?.text).toBe("Good.");
    expect(client.last.said).toEqual(["Be brief.", "Why?"]);
    expect(await records.messages("c")).toHaveLength(3);
  });

  test("the version that is looked at is what the model is told", async () => {
    const { chat, client, thread } = await askedAndAnswered("Why?", "First.");
    chat.retry(thread);
    client.last.say("Second.");
    client.last.end(COMPLETE);
    await settle();
    const first = thread.turns.value[0]?.answers[0];
    if (first !== undefined) thread.show(first);
    chat.ask(thread, "So?");
    expect(client.last.said[2]).toBe("First.");
  });

  test("does nothing while an answer grows", async () => {
    const { chat, client } = tab();
    const thread = chat.thread("c");
    chat.ask(thread, "Why?");
    chat.retry(thread);
    expect(client.calls).toHaveLength(1);
  });

  test("versions are bounded", async () => {
    const { chat, client, thread, records } = await askedAndAnswered("Why?", "0");
    for (let count = 1; count <= MAX_VERSIONS; count += 1) {
      chat.retry(thread);
      client.last.say(`${count}`);
      client.last.end(COMPLETE);
      await settle();
    }
    expect(thread.turns.value[0]?.answers.map(({ text }) => text).join("")).toBe("12345678");
    expect(await records.messages("c")).toHaveLength(1 + MAX_VERSIONS);
  });
});

describe("a lost relay", () => {
  test("resuming goes on behind the last offset", async () => {
    const { chat, client } = tab();
    const thread = chat.thread("c");
    chat.ask(thread, "Why?");
    client.last.say("Be");
    client.last.end(LOST);
    await settle();
    const lost = thread.latest.value;
    expect(lost?.status.value).toEqual(LOST);
    if (lost) chat.resume(lost);
    expect(client.last.after).toBe(0);
    client.last.say("cause");
    expect(lost?.text).toBe("Because");
  });

  test("that is back has its answers go on by themselves, once", async () => {
    const { chat, client } = tab();
    chat.ask(chat.thread("c"), "Why?");
    client.last.end(LOST);
    await settle();
    chat.relayIsBack();
    chat.relayIsBack();
    expect(client.calls).toHaveLength(2);
  });
});

describe("editing a question", () => {
  test("asks anew without what followed it; undoing brings that back", async () => {
    const { chat, client, thread, library, records } = await askedAndAnswered("Why?", "Because.");
    chat.ask(thread, "And?");
    client.last.say("Then.");
    client.last.end(COMPLETE);
    await settle();
    const undo = chat.edit(thread, 0, "How?");
    expect(thread.turns.value.map(({ question }) => question.text)).toEqual(["How?"]);
    await settle();
    expect(library.conversations.value[0]?.title).toBe("How?");
    expect(await records.messages("c")).toHaveLength(2);
    await undo();
    await settle();
    expect(thread.turns.value.map(({ question }) => question.text)).toEqual(["Why?", "And?"]);
    expect(library.conversations.value[0]?.title).toBe("Why?");
    expect(await records.messages("c")).toHaveLength(4);
  });
});

describe("removing a conversation", () => {
  test("stops its answer; undoing brings it back", async () => {
    const { chat, client, library, thread } = await askedAndAnswered("Why?", "Because.");
    chat.ask(thread, "And?");
    await settle();
    const undo = await chat.remove("c");
    await settle();
    expect(client.last.isCancelled).toBe(true);
    expect([library.conversations.value.length, thread.turns.value.length]).toEqual([0, 0]);
    await undo();
    await settle();
    expect(library.conversations.value).toHaveLength(1);
    expect(thread.turns.value).toHaveLength(2);
  });
});
