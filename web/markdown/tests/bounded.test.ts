// @vitest-environment jsdom
import { expect, test } from "vitest";
import { MarkdownView } from "../src/index.ts";
import { FIXED } from "./harness.ts";

interface Frame {
  readonly lexed: number;
  readonly nodes: number;
  readonly coded: number;
}

/** Stream a text in even pieces, one a frame, and return what each frame took. */
function framesOf(text: string, piece: number): Frame[] {
  const view = new MarkdownView(document.createElement("div"), { ...FIXED, math: false, schedule: () => () => {} });
  const frames: Frame[] = [];
  for (let at = 0; at < text.length; at += piece) {
    const { lexed, nodes, coded } = view.work;
    view.write(text.slice(at, at + piece));
    view.flush();
    const { work } = view;
    frames.push({ lexed: work.lexed - lexed, nodes: work.nodes - nodes, coded: work.coded - coded });
  }
  view.end();
  view.flush();
  return frames;
}

const PIECE = 400;

/** Blocks that are one block however long they get. */
const HUGE: Readonly<Record<string, string>> = {
  "a fence of 5,000 lines": `\`\`\`py\n${"    total += values[index] * weights[index]\n".repeat(5000)}\`\`\`\n`,
  "an indented block of 2,000 lines": "    total += values[index]\n".repeat(2000),
  "a fence in an item": `- see\n\n  \`\`\`\n${"  line of code\n".repeat(3000)}  \`\`\`\n`,
  "a table of 2,000 rows": `| a | b | c |\n|---|---|---|\n${"| one | two | three |\n".repeat(2000)}`,
  "a paragraph of 100 KB without a line end": "some words of a text ".repeat(5000),
  "a paragraph of 20 KB with emphasis and code": "some *words* and `code` of a text ".repeat(600),
  "a paragraph of 100 KB with a star that never closes": `a *star ${"some words of a text ".repeat(5000)}`,
  "a paragraph of 60 KB without a blank": "0123456789abcdef".repeat(3800),
  "a list of 3,000 items": "- an item of a list\n".repeat(3000),
  "a list of 1,500 items that stand apart": "- an item of a list\n\n".repeat(1500),
  "quotes 200 deep": `${">".repeat(200)} deep\n`.repeat(200),
  "lists 200 deep": Array.from({ length: 200 }, (_, depth) => `${"  ".repeat(depth)}- item\n`).join(""),
  "a quote of 3,000 lines": "> a line of a quote that goes on and on\n".repeat(3000),
  "a heading of 50 KB": `# ${"some words ".repeat(4500)}\n`,
  "a line of 50 KB of pipes": "|".repeat(50_000),
};

test.each(Object.entries(HUGE))(
  "%s: a frame's work does not grow with what was drawn before it",
  { timeout: 120_000 },
  (_, text) => {
    const frames = framesOf(text, PIECE);
    for (const { lexed, nodes, coded } of frames) {
      expect(lexed).toBeLessThanOrEqual(3 * 4096);
      expect(nodes).toBeLessThanOrEqual(2 * PIECE);
      expect(coded).toBeLessThanOrEqual(9000);
    }
  },
);

/** Texts that make a careless reader look again and again. */
const AWKWARD: Readonly<Record<string, string>> = {
  stars: "*a ".repeat(8000),
  "double stars": "**a _b ".repeat(4000),
  brackets: "[".repeat(20_000),
  "images in images": "![".repeat(10_000),
  links: "[a](".repeat(6000),
  backticks: Array.from({ length: 150 }, (_, length) => `${"`".repeat(length + 1)} `).join(""),
  dollars: "$a ".repeat(8000),
  angles: "<a:".repeat(8000),
  entities: "&a".repeat(10_000),
  backslashes: "\\".repeat(20_000),
  tildes: "~~a ".repeat(6000),
  "definitions that are none": '[a]: b "c\n'.repeat(2000),
  "blanks in a definition": `[a]:${" ".repeat(8000)}x x`,
  "a rule that is none": `${"- ".repeat(4000)}x`,
  "blank lines": "\n".repeat(30_000),
  blanks: " ".repeat(30_000),
  "numbers of items": "1. ".repeat(8000),
  columns: `${"|a".repeat(3000)}|\n${"|-".repeat(3000)}|\n`,
  "rows that fill up": `${"|a".repeat(60)}|\n${"|-".repeat(60)}|\n${"|\n".repeat(300)}`,
};

test.each(Object.entries(AWKWARD))("%s: reading is linear", (_, text) => {
  const view = new MarkdownView(document.createElement("div"), { ...FIXED, schedule: () => () => {} });
  view.write(text);
  view.end();
  view.flush();
  expect(view.work.lexed).toBeLessThanOrEqual(12 * text.length + 4096);
  expect(view.work.nodes).toBeLessThanOrEqual(64 * text.length);
});

test("a long text that comes at once is drawn in several frames", () => {
  const frames: (() => void)[] = [];
  const root = document.createElement("div");
  const schedule = (draw: () => void) => {
    frames.push(draw);
    return () => {};
  };
  const view = new MarkdownView(root, { ...FIXED, schedule, now: () => 0 });
  view.write("A paragraph of the text that is replayed.\n\n".repeat(4000));
  view.end();
  let drawn = 0;
  let most = 0;
  for (let frame = frames.shift(); frame !== undefined; frame = frames.shift()) {
    frame();
    most = Math.max(most, root.childNodes.length - drawn);
    drawn = root.childNodes.length;
  }
  expect(drawn).toBe(4000);
  expect(most).toBeLessThan(900);
  expect(view.isSettled).toBe(true);
});

test("a frame ends when its time is over", () => {
  const frames: (() => void)[] = [];
  let clock = 0;
  const root = document.createElement("div");
  const schedule = (draw: () => void) => {
    frames.push(draw);
    return () => {};
  };
  const view = new MarkdownView(root, { ...FIXED, schedule, budgetMs: 8, now: () => (clock += 5) });
  view.write("A paragraph.\n\n".repeat(1000));
  frames.shift()?.();
  expect(root.childNodes.length).toBeLessThan(200);
  expect(view.isSettled).toBe(false);
});
