import { describe, expect, test } from "vitest";
import { Library, titleOf } from "../src/store/library.ts";
import { MemoryRecords } from "../src/store/memory.ts";
import { answer, FakeTabs, question } from "./fakes.ts";

function library(records = new MemoryRecords(), tabs = new FakeTabs()) {
  return new Library(records, tabs.open());
}

describe("a library", () => {
  test("names a conversation by its first question and lists the last asked first", async () => {
    const kept = library();
    await kept.addExchange(question("q", { text: "First?" }), answer("a"));
    await kept.addExchange(question("r", { conversationId: "d", text: "Other?", createdAt: 2000 }), answer("b"));
    await kept.addExchange(question("s", { position: 1, text: "More?", createdAt: 3000 }), answer("e"));
    expect(kept.conversations.value.map(({ title }) => title)).toEqual(["First?", "Other?"]);
    await kept.refresh();
    expect(kept.conversations.value.map(({ title }) => title)).toEqual(["First?", "Other?"]);
  });

  test("tells other tabs, not itself", async () => {
    const tabs = new FakeTabs();
    const here = library(new MemoryRecords(), tabs);
    const heard: string[] = [];
    tabs.open().listen(({ type, conversationId }) => heard.push(`${type} ${conversationId}`));
    await here.addExchange(question("q"), answer("a"));
    await here.removeConversation("c");
    expect(heard).toEqual(["changed c", "removed c"]);
  });

  test("a read that a change overtook does not undo it", async () => {
    const kept = library();
    const read = kept.refresh();
    const add = kept.addExchange(question("q"), answer("a"));
    await Promise.all([read, add]);
    expect(kept.conversations.value).toHaveLength(1);
  });

  test("goes on when the storage fails, and says that nothing is kept", async () => {
    class FullRecords extends MemoryRecords {
      override async putExchange(): Promise<void> {
        throw new DOMException("full", "QuotaExceededError");
      }
    }
    const kept = library(new FullRecords());
    await kept.addExchange(question("q", { text: "Still here?" }), answer("a"));
    expect(kept.conversations.value[0]?.title).toBe("Still here?");
    expect(kept.isKept.value).toBe(false);
  });
});

describe("a title", () => {
  test.each([
    ["  Why   is\tthe sky blue? ", "Why is the sky blue?"],
    ["\n\nSecond line\nthird", "Second line"],
    ["   ", "Untitled"],
    ["word ".repeat(30), `${"word ".repeat(11)}word…`],
    ["x".repeat(80), `${"x".repeat(60)}…`],
  ])("of %j is %j", (text, title) => {
    expect(titleOf(text)).toBe(title);
  });
});
