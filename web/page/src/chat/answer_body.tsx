import type { MarkdownOptions } from "@headrace/markdown";
import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { useServices } from "../shell/services.ts";
import { isOpen } from "../store/types.ts";
import type { Answer } from "./answer.ts";
import type { Loaded, Tools } from "./renderer.ts";

const OPTIONS: MarkdownOptions = { labels: { copy: "Copy code", copied: "Copied" } };

/** The text of an answer, drawn as it comes. What it is drawn by works on the element itself, beside preact. */
export function AnswerBody({ answer }: { answer: Answer }): JSX.Element {
  const { renderer } = useServices();
  const root = useRef<HTMLDivElement>(null);
  const loaded = renderer.loaded.value;
  useLayoutEffect(() => void renderer.want(), [renderer]);
  useLayoutEffect(() => (root.current === null ? undefined : draw(root.current, answer, loaded)), [answer, loaded]);
  return <div class="answer-body" data-drawn={loaded.state === "ready"} ref={root} />;
}

/** Draw what there is, and what comes; returns how to stop. */
function draw(root: HTMLElement, answer: Answer, loaded: Loaded): (() => void) | undefined {
  root.replaceChildren();
  switch (loaded.state) {
    case "wanted":
      return undefined;
    case "failed":
      return drawPlain(root, answer);
    case "ready":
      return drawMarkdown(root, answer, loaded.tools);
  }
}

function drawMarkdown(root: HTMLElement, answer: Answer, tools: Tools): (() => void) | undefined {
  // Of an element of its own, since what draws may mark it.
  const page = root.appendChild(document.createElement("div"));
  page.className = "markdown";
  if (!isOpen(answer.status.peek())) {
    const cut = answer.status.peek().state !== "completed";
    tools.renderMarkdown(page, answer.text, { ...OPTIONS, cut });
    return undefined;
  }
  const view = new tools.MarkdownView(page, OPTIONS);
  view.write(answer.text);
  view.flush();
  const leave = answer.read({ grow: (delta) => view.write(delta), end: (cut) => view.end({ cut }) });
  return () => {
    leave();
    view.destroy();
  };
}

function drawPlain(root: HTMLElement, answer: Answer): () => void {
  const text = root.appendChild(document.createTextNode(answer.text));
  return answer.read({ grow: (delta) => text.appendData(delta), end: () => {} });
}
