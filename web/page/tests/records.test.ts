import "fake-indexeddb/auto";
import { describe, expect, test } from "vitest";
import { IndexedRecords } from "../src/store/indexed.ts";
import { MemoryRecords } from "../src/store/memory.ts";
import { openRecords } from "../src/store/open.ts";
import type { Records } from "../src/store/records.ts";
import { answer, COMPLETE, conversation, LOST, question } from "./fakes.ts";

let databases = 0;
const BACKENDS: [string, () => Promise<Records>][] = [
  ["memory", async () => new MemoryRecords()],
  [
    "IndexedDB",
    () => {
      databases += 1;
      return IndexedRecords.open(`records-${databases}`);
    },
  ],
];

describe.each(BACKENDS)("records in %s", (_, open) => {
  test("conversations come newest first, at most as many as asked for", async () => {
    const records = await open();
    for (const [id, updatedAt] of [
      ["a", 2],
      ["b", 3],
      ["c", 1],
    ] as const) {
      await records.putExchange(
        conversation(id, { updatedAt }),
        question(`q-${id}`, { conversationId: id }),
        answer(id),
      );
    }
    expect((await records.listConversations(2)).map(({ id }) => id)).toEqual(["b", "a"]);
  });

  test("messages are those of the conversation, as they were put", async () => {
    const records = await open();
    const put = [question("q"), answer("a")] as const;
    await records.putExchange(conversation("c"), ...put);
    await records.putExchange(
      conversation("d"),
      question("q2", { conversationId: "d" }),
      answer("a2", { conversationId: "d" }),
    );
    const found = await records.messages("c");
    expect(found.sort((a, b) => b.id.localeCompare(a.id))).toEqual(put);
  });

  test("an answer that knows less does not undo one that knows more", async () => {
    const records = await open();
    await records.putExchange(conversation("c"), question("q"), answer("a"));
    const ahead = answer("a", { text: "Because", lastOffset: 5, status: { state: "streaming" } });
    expect(await records.putAnswer(ahead)).toBe(true);
    expect(await records.putAnswer({ ...ahead, text: "Be", lastOffset: 2 })).toBe(false);
    expect(await records.messages("c")).toContainEqual(ahead);
  });

  test("an end that was told stays, what one tab gave up on does not", async () => {
    const records = await open();
    await records.putExchange(conversation("c"), question("q"), answer("a"));
    const lost = answer("a", { lastOffset: 5, status: LOST });
    const ended = answer("a", { lastOffset: 4, status: COMPLETE });
    expect(await records.putAnswer(lost)).toBe(true);
    expect(await records.putAnswer({ ...lost, status: { state: "waiting" } })).toBe(true);
    expect(await records.putAnswer(ended)).toBe(true);
    expect(await records.putAnswer(lost)).toBe(false);
  });

  test("an answer to a question that is gone is not kept", async () => {
    const records = await open();
    expect(await records.putAnswer(answer("a"))).toBe(false);
    expect(await records.messages("c")).toEqual([]);
  });

  test("open answers are those that had not ended", async () => {
    const records = await open();
    await records.putExchange(conversation("c"), question("q"), answer("a", { createdAt: 1 }));
    for (const [id, status] of [
      ["b", COMPLETE],
      ["d", LOST],
      ["e", { state: "streaming" }],
    ] as const) {
      await records.putAnswer(answer(id, { createdAt: 2, status }));
    }
    expect((await records.openAnswers(9)).map(({ id }) => id)).toEqual(["e", "a"]);
    expect(await records.openAnswers(1)).toHaveLength(1);
    await records.putAnswer(answer("a", { lastOffset: 3, status: COMPLETE }));
    expect((await records.openAnswers(9)).map(({ id }) => id)).toEqual(["e"]);
  });

  test("a removed conversation is gone, and comes back whole", async () => {
    const records = await open();
    await records.putExchange(conversation("c"), question("q"), answer("a"));
    const bundle = await records.removeConversation("c");
    expect(await records.listConversations(9)).toEqual([]);
    expect(await records.messages("c")).toEqual([]);
    await records.restore(bundle);
    expect(await records.listConversations(9)).toEqual([conversation("c")]);
    expect(await records.messages("c")).toHaveLength(2);
    expect(await records.openAnswers(9)).toHaveLength(1);
  });

  test("removing what is not there returns nothing", async () => {
    expect(await (await open()).removeConversation("x")).toEqual({ conversation: null, messages: [] });
  });

  test("single messages can be removed", async () => {
    const records = await open();
    await records.putExchange(conversation("c"), question("q"), answer("a"));
    await records.removeMessages(["a", "unknown"]);
    expect(await records.messages("c")).toEqual([question("q")]);
  });
});

test("what one connection keeps, another reads", async () => {
  const first = await IndexedRecords.open("shared");
  await first.putExchange(conversation("c"), question("q"), answer("a"));
  expect(await (await IndexedRecords.open("shared")).messages("c")).toHaveLength(2);
});

test("a browser that denies IndexedDB keeps conversations in memory", async () => {
  const factory = globalThis.indexedDB;
  Reflect.set(globalThis, "indexedDB", {
    open: () => {
      throw new DOMException("denied", "SecurityError");
    },
  });
  try {
    expect((await openRecords("denied")).isKept).toBe(false);
  } finally {
    Reflect.set(globalThis, "indexedDB", factory);
  }
  expect((await openRecords("allowed")).isKept).toBe(true);
});
