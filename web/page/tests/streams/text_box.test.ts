// @vitest-environment jsdom
import { expect, test } from "vitest";
import { TextBox } from "../../src/streams/text_box.ts";
import { Transcript } from "../../src/streams/transcript.ts";

/** A box, and frames that come on demand. */
function boxing(transcript: Transcript) {
  const root = document.createElement("div");
  const frames: (() => void)[] = [];
  const box = new TextBox(root, transcript, (draw) => {
    frames.push(draw);
    return () => frames.splice(0);
  });
  const frame = () => {
    for (const draw of frames.splice(0)) {
      draw();
    }
  };
  const lines = () => [...root.children].map((block) => block.textContent).join("\n");
  return { root, box, frame, frames, lines };
}

/** Fixed, so that a failure can be seen again. */
function pieces(text: string): string[] {
  return Array.from({ length: Math.ceil(text.length / 37) }, (_, index) => text.slice(index * 37, index * 37 + 37));
}

test("a transcript keeps its newest part, and says how much it dropped", () => {
  const transcript = new Transcript(100_000);
  const text = Array.from({ length: 40_000 }, (_, index) => `word${index} `).join("");
  for (const piece of pieces(text)) {
    transcript.add(piece);
    expect(transcript.length).toBeLessThanOrEqual(100_000);
  }
  expect(transcript.length).toBeGreaterThan(80_000);
  expect(transcript.text).toBe(text.slice(transcript.dropped));
});

test("the box shows what was there and what comes, at most once a frame", () => {
  const transcript = new Transcript();
  transcript.add("Hello ");
  const { lines, frame, frames } = boxing(transcript);
  expect(lines()).toBe("Hello ");
  transcript.add("wor");
  transcript.add("ld");
  expect(frames.length).toBe(1);
  expect(lines()).toBe("Hello ");
  frame();
  expect(lines()).toBe("Hello world");
});

test("a long text lies in blocks that end where lines end", () => {
  const transcript = new Transcript();
  const { root, lines, frame } = boxing(transcript);
  const text = Array.from({ length: 900 }, (_, index) => `line ${index}${index % 7 === 0 ? "\n" : ""}`).join("\n");
  for (const piece of pieces(text)) {
    transcript.add(piece);
    frame();
  }
  expect(root.children.length).toBeGreaterThan(3);
  expect(lines()).toBe(text);
});

test("a text without lines is cut between words, and rarely", () => {
  const transcript = new Transcript();
  const { root, frame } = boxing(transcript);
  transcript.add("word ".repeat(30_000));
  frame();
  const blocks = [...root.children].map((block) => block.textContent ?? "");
  expect(blocks.length).toBeLessThan(6);
  expect(blocks.join("")).toBe("word ".repeat(30_000));
  expect(blocks.slice(0, -1).every((block) => block.endsWith(" "))).toBe(true);
});

test("what the transcript dropped leaves the box, by blocks", () => {
  const transcript = new Transcript(50_000);
  const { root, frame } = boxing(transcript);
  for (let line = 0; line < 5000; line += 1) {
    transcript.add(`this is line number ${line}\n`);
    if (line % 10 === 0) {
      frame();
    }
  }
  frame();
  const shown = root.textContent ?? "";
  expect(shown.length).toBeLessThan(60_000);
  expect(shown.trimEnd().endsWith("this is line number 4999")).toBe(true);
});

test("when nothing was drawn for long, only what is kept is drawn", () => {
  const transcript = new Transcript(50_000);
  const { root, frame } = boxing(transcript);
  for (let line = 0; line < 9000; line += 1) {
    transcript.add(`this is line number ${line}\n`);
  }
  frame();
  expect(root.textContent?.replaceAll("\n", "")).toBe(transcript.text.replaceAll("\n", ""));
});

test("text is never markup", () => {
  const transcript = new Transcript();
  transcript.add("<img src=x onerror=alert(1)>");
  const { root } = boxing(transcript);
  expect(root.querySelector("img")).toBeNull();
});

test("a closed box draws no more", () => {
  const transcript = new Transcript();
  const { box, frame, lines } = boxing(transcript);
  transcript.add("a");
  box.close();
  transcript.add("b");
  frame();
  expect(lines()).toBe("");
});
