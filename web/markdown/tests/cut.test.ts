// @vitest-environment jsdom
import { expect, test } from "vitest";
import { MarkdownView } from "../src/index.ts";
import { FIXED, oneShot, randomPieces, seeded } from "./harness.ts";

function cutHtml(pieces: readonly string[]): string {
  const root = document.createElement("div");
  const view = new MarkdownView(root, { ...FIXED, schedule: () => () => {} });
  for (const piece of pieces) {
    view.write(piece);
    view.flush();
  }
  view.end({ cut: true });
  view.flush();
  return root.innerHTML;
}

/** A text that was cut, and the whole text that it looks like. */
const CUT: readonly [string, string][] = [
  ["Text\n-", "Text"],
  ["Text\n---", "Text"],
  ["Text\n==", "Text"],
  ["- item\n-", "- item"],
  ["- item\n  -", "- item"],
  ["- item\n\n  text\n  --", "- item\n\n  text"],
  ["Steps:\n\n1.", "Steps:"],
  ["- [", ""],
  ["Text\n\n#", "Text"],
  ["Text\n\n## ", "Text"],
  ["Text\n\n>", "Text"],
  ["Text\n\n```", "Text"],
  ["Text\n\n```python", "Text"],
  ["Text\n\n```python\n", "Text"],
  ["- item\n  ```sh\n", "- item"],
  ["```\na\n``", "```\na\n"],
  ["```\na", "```\na"],
  ["Some **bold", "Some **bold**"],
  ["Some **", "Some"],
  ["Some `code", "Some `code`"],
  ["Some `", "Some"],
  ["See [the page](https://x.inv", "See the page"],
  ["See [the", "See the"],
  ["Let $x_1", "Let"],
  ["Text\n\n$$\na = b\n", "Text"],
  ["Text\n\n$$\na = b", "Text"],
  ["## A **title", "## A **title**"],
  ["| a | b |\n|---|---|\n| 1 | **2", "| a | b |\n|---|---|\n| 1 | **2**"],
  ["| a | b |\n|--", "\\| a \\| b \\|"],
  ["In 2024", "In 2024"],
  ["2024", "2024"],
];

test.each(CUT)("%j, cut, looks like %j", (text, whole) => {
  const expected = oneShot(whole).innerHTML;
  expect(cutHtml([text])).toBe(expected);
  expect(cutHtml(text.split(""))).toBe(expected);
});

test.each(["A *b* [c](https://x.invalid/).\n\n- d\n", "# Title\n\n```js\nlet a;\n```\n", "| a |\n|---|\n| b |\n"])(
  "%j, whole, looks the same if it is said to be cut",
  (text) => {
    expect(cutHtml(randomPieces(text, 5, seeded(1)))).toBe(oneShot(text).innerHTML);
  },
);
