// @vitest-environment jsdom
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, expect, test, vi } from "vitest";
import { Answer } from "../src/chat/answer.ts";
import { Composer } from "../src/chat/composer.tsx";
import { Thread } from "../src/chat/thread.ts";
import { type Services, ServicesContext } from "../src/shell/services.ts";
import { answer, question } from "./fakes.ts";

vi.stubGlobal("matchMedia", () => ({ matches: false }));

const root = document.createElement("div");
document.body.append(root);

afterEach(() => render(null, root));

/** A composer over a conversation that keeps nothing; returns what it asked. */
async function composer() {
  const thread = new Thread("c");
  thread.load([], () => null);
  const asked: string[] = [];
  const chat = { ask: (_: Thread, text: string) => asked.push(text) };
  const services = { chat, router: { go: () => {} }, renderer: { want: () => {} } } as unknown as Services;
  await act(() =>
    render(
      <ServicesContext.Provider value={services}>
        <Composer thread={thread} />
      </ServicesContext.Provider>,
      root,
    ),
  );
  const box = root.querySelector("textarea");
  if (box === null) throw new Error("there is no text box");
  const type = (text: string) =>
    act(() => {
      box.value = text;
      box.dispatchEvent(new Event("input", { bubbles: true }));
    });
  const press = async (init: KeyboardEventInit) => {
    const event = new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...init });
    await act(() => void box.dispatchEvent(event));
    return event.defaultPrevented;
  };
  return { thread, asked, box, type, press };
}

test("the box is named Message and takes the focus", async () => {
  const { box } = await composer();
  expect(box.getAttribute("aria-label")).toBe("Message");
  expect(document.activeElement).toBe(box);
});

test("Enter sends what was typed, once, and empties the box", async () => {
  const { asked, box, type, press } = await composer();
  await type("  Why? ");
  expect(await press({})).toBe(true);
  await press({});
  expect(asked).toEqual(["Why?"]);
  expect(box.value).toBe("");
});

test.each([
  ["Shift and Enter", { shiftKey: true }],
  ["Enter while an input method composes", { isComposing: true }],
  ["Enter that ends a composition in Safari", { keyCode: 229 }],
])("%s does not send", async (_, init) => {
  const { asked, type, press } = await composer();
  await type("Why?");
  expect(await press(init)).toBe(false);
  expect(asked).toEqual([]);
});

test("nothing but space is not sent, and Send is disabled", async () => {
  const { asked, type, press } = await composer();
  await type("  \n");
  await press({});
  expect(asked).toEqual([]);
  expect(root.querySelector<HTMLButtonElement>("button[aria-label=Send]")?.disabled).toBe(true);
});

test("while an answer grows there is Stop in the place of Send, and Enter keeps what was typed", async () => {
  const { thread, asked, box, type, press } = await composer();
  await act(() => thread.add(question("q"), new Answer(answer("a"))));
  await type("And?");
  await press({});
  expect(asked).toEqual([]);
  expect(box.value).toBe("And?");
  expect([...root.querySelectorAll("button")].map((button) => button.getAttribute("aria-label"))).toEqual(["Stop"]);
});
