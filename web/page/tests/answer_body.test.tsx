// @vitest-environment jsdom
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, expect, test } from "vitest";
import { Answer } from "../src/chat/answer.ts";
import { AnswerBody } from "../src/chat/answer_body.tsx";
import { Renderer, type Tools } from "../src/chat/renderer.ts";
import { type Services, ServicesContext } from "../src/shell/services.ts";
import { answer, COMPLETE, LOST, STOPPED, settle } from "./fakes.ts";

const root = document.createElement("div");
document.body.append(root);
afterEach(() => render(null, root));

/** Draws what it is given between brackets, so that a test sees who drew what. */
class FakeView {
  readonly #root: HTMLElement;

  constructor(element: HTMLElement) {
    this.#root = element;
  }

  write(delta: string): void {
    this.#root.append(`[${delta}]`);
  }

  end({ cut }: { cut: boolean }): void {
    this.#root.append(cut ? "CUT" : "END");
  }

  flush(): void {}

  destroy(): void {
    this.#root.append("DESTROYED");
  }
}

const TOOLS = {
  MarkdownView: FakeView,
  renderMarkdown: (element: HTMLElement, text: string, { cut }: { cut: boolean }) =>
    element.append(cut ? `<${text}` : `<${text}>`),
} as unknown as Tools;

async function show(shown: Answer, renderer: Renderer): Promise<void> {
  await act(() =>
    render(
      <ServicesContext.Provider value={{ renderer } as unknown as Services}>
        <AnswerBody answer={shown} />
      </ServicesContext.Provider>,
      root,
    ),
  );
  await act(settle);
}

test("an answer that grows is drawn piece by piece, from what was there when it was opened", async () => {
  const shown = new Answer(answer("a", { text: "Be", status: { state: "streaming" } }));
  await show(shown, new Renderer(async () => TOOLS));
  shown.grow("cause", "", 1);
  expect(root.textContent).toBe("[Be][cause]");
  shown.stand(COMPLETE);
  expect(root.textContent).toBe("[Be][cause]END");
});

test("an answer that has ended is drawn at once", async () => {
  await show(new Answer(answer("a", { text: "Because", status: COMPLETE })), new Renderer(async () => TOOLS));
  expect(root.textContent).toBe("<Because>");
});

test("an answer that is not whole is drawn as a cut one, now and after a reload", async () => {
  const shown = new Answer(answer("a", { text: "Be", status: { state: "streaming" } }));
  await show(shown, new Renderer(async () => TOOLS));
  shown.stand(STOPPED);
  expect(root.textContent).toBe("[Be]CUT");
  render(null, root);
  await show(new Answer(answer("b", { text: "Be", status: LOST })), new Renderer(async () => TOOLS));
  expect(root.textContent).toBe("<Be");
});

test("text that comes before the renderer is there is not lost", async () => {
  let arrive = (_tools: Tools): void => {};
  const waiting = new Promise<Tools>((resolve) => {
    arrive = resolve;
  });
  const shown = new Answer(answer("a", { status: { state: "streaming" } }));
  await show(shown, new Renderer(() => waiting));
  shown.grow("Be", "", 0);
  arrive(TOOLS);
  await act(settle);
  shown.grow("cause", "", 1);
  expect(root.textContent).toBe("[Be][cause]");
});

test("without a renderer the text is shown as it is, and the next need tries again", async () => {
  let tries = 0;
  const renderer = new Renderer(() => {
    tries += 1;
    return tries === 1 ? Promise.reject(new Error("the relay is down")) : Promise.resolve(TOOLS);
  });
  const shown = new Answer(answer("a", { text: "*Be", status: { state: "streaming" } }));
  await show(shown, renderer);
  shown.grow("cause*", "", 1);
  expect(root.textContent).toBe("*Because*");
  await act(() => renderer.want());
  expect(root.textContent).toBe("[*Because*]");
});
