import { describe, expect, test } from "vitest";
import { isSend, type KeyPress } from "../src/chat/keys.ts";

const ENTER: KeyPress = { key: "Enter", shiftKey: false, altKey: false, isComposing: false, keyCode: 13 };

describe("a key press in the text box", () => {
  test("Enter sends", () => {
    expect(isSend(ENTER)).toBe(true);
  });

  test.each([
    ["with Shift it makes a line", { shiftKey: true }],
    ["with Alt it does something else", { altKey: true }],
    ["while an input method composes it is not ours", { isComposing: true }],
    ["nor when Safari ends a composition with it", { keyCode: 229 }],
    ["another key never sends", { key: "a" }],
  ])("%s", (_, change) => {
    expect(isSend({ ...ENTER, ...change })).toBe(false);
  });
});
