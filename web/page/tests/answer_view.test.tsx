// @vitest-environment jsdom
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, expect, test } from "vitest";
import { Answer } from "../src/chat/answer.ts";
import { AnswerView } from "../src/chat/answer_view.tsx";
import { Renderer } from "../src/chat/renderer.ts";
import { Thread } from "../src/chat/thread.ts";
import { type Services, ServicesContext } from "../src/shell/services.ts";
import type { AnswerRecord } from "../src/store/types.ts";
import { answer, COMPLETE, LOST, question, STOPPED, settle } from "./fakes.ts";

const root = document.createElement("div");
document.body.append(root);
afterEach(() => render(null, root));

async function show(more: Partial<AnswerRecord>, { isLast = true } = {}) {
  const shown = new Answer(answer("a", more));
  const thread = new Thread("c");
  thread.add(question("q"), shown);
  const [turn] = thread.turns.value;
  if (turn === undefined) throw new Error("there is no turn");
  const done: string[] = [];
  const chat = { retry: () => done.push("retry"), resume: () => done.push("resume") };
  const renderer = new Renderer(() => Promise.reject(new Error("plain text will do")));
  await act(() =>
    render(
      <ServicesContext.Provider value={{ chat, renderer, notices: { show: () => {} } } as unknown as Services}>
        <AnswerView thread={thread} turn={turn} answer={shown} isLast={isLast} />
      </ServicesContext.Provider>,
      root,
    ),
  );
  await act(settle);
  return { shown, done };
}

const article = () => root.querySelector("article");
const ending = () => root.querySelector(".ending")?.textContent;
const names = () =>
  [...root.querySelectorAll("button")].map((button) => button.getAttribute("aria-label") ?? button.textContent);

test("an answer that grows is busy and offers nothing yet", async () => {
  await show({ text: "Be", status: { state: "streaming" } });
  expect(article()?.getAttribute("aria-label")).toBe("Answer");
  expect(article()?.getAttribute("aria-busy")).toBe("true");
  expect([ending(), names()]).toEqual(["Answering…", []]);
});

test("a whole answer says so, with its figures and its stream", async () => {
  const facts = { tokens: 212, ttftMs: 420, tokensPerSecond: 31, cost: 0.0012 };
  await show({ text: "Because", status: COMPLETE, facts });
  expect(article()?.getAttribute("aria-busy")).toBe("false");
  expect(article()?.dataset).toMatchObject({ state: "completed", cause: "stop", stream: "s_a" });
  expect(ending()).toBe("Complete");
  const figures = [...root.querySelectorAll(".figures > *")].map((figure) => figure.textContent);
  expect(figures).toEqual(["TTFT 420 ms", "31 tokens/s", "212 tokens", "$0.0012", "m", "View stream"]);
  expect(root.querySelector("a")?.getAttribute("href")).toBe("#/streams/s_a");
  expect(names()).toEqual(["Retry", "Copy"]);
});

test("what the client lost can be resumed; pressing does", async () => {
  const { done } = await show({
    text: "Be",
    status: LOST,
    facts: { tokens: 2, ttftMs: 1, tokensPerSecond: 1, cost: null },
  });
  expect(ending()).toBe("Connection lost: 2 tokens kept");
  expect(names()).toEqual(["Resume", "Retry", "Copy"]);
  for (const button of root.querySelectorAll("button")) if (button.textContent !== "Copy") button.click();
  expect(done).toEqual(["resume", "retry"]);
});

test("what was stopped cannot", async () => {
  await show({ text: "Be", status: STOPPED });
  expect([ending(), names()]).toEqual(["Stopped by you", ["Retry", "Copy"]]);
});

test("only the last answer can be asked for anew", async () => {
  await show({ text: "Be", status: COMPLETE }, { isLast: false });
  expect(names()).toEqual(["Copy"]);
});

test("no answer has nothing to copy, and no stream to look at", async () => {
  const status = { state: "failed", cause: "invalid_request", message: "no", status: 400, retryAfterMs: null } as const;
  await show({ status });
  expect([ending(), names()]).toEqual(["No answer: no", ["Retry"]]);
  expect(root.querySelector("a")).toBeNull();
});

test("reasoning stands above the answer, folded", async () => {
  const { shown } = await show({ reasoning: "Let me see.", status: { state: "streaming" } });
  const details = root.querySelector("details");
  expect(details?.open).toBe(false);
  expect(details?.textContent).toBe("Reasoning…Let me see.");
  await act(() => shown.grow("Because", "", 1));
  expect(root.querySelector("summary")?.textContent).toBe("Reasoning");
  expect(article()?.firstElementChild).toBe(details);
});
