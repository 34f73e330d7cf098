// @vitest-environment jsdom
import { signal } from "@preact/signals";
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeAll, expect, test } from "vitest";
import { type KeysEnvironment, View } from "../../src/keys/view.tsx";
import { type Caller, callerOf } from "../../src/relay/caller.ts";
import { SourceError } from "../../src/relay/problem.ts";
import { settle } from "../fakes.ts";
import { FakeKeys, keyOf, NOW } from "./kit.ts";

const root = document.createElement("div");
document.body.append(root);
afterEach(() => render(null, root));

// jsdom has dialogs, but does not show them.
beforeAll(() => {
  HTMLDialogElement.prototype.showModal ??= function (this: HTMLDialogElement) {
    this.open = true;
  };
  HTMLDialogElement.prototype.close ??= function (this: HTMLDialogElement) {
    this.open = false;
  };
});

const ADMIN = { owner: "ops", role: "admin", key_id: "key_own", keys_required: true };

async function show(me: Record<string, unknown>, prepare: (source: FakeKeys) => void = () => {}) {
  const source = new FakeKeys();
  source.keys = [
    keyOf("key_own", { name: "mine", owner: "ops", role: "admin" }),
    keyOf("key_b", { name: "laptop", budget: { day_usd: "10" }, spent: { day_usd: "3.4" } }),
    keyOf("key_c", { name: "lost", revoked_at: NOW - 10 }),
  ];
  prepare(source);
  const used: string[] = [];
  const copied: string[] = [];
  const environment: KeysEnvironment = {
    source,
    caller: signal<Caller | null>(callerOf(me)),
    nowS: () => NOW,
    copy: async (text) => copied.push(text) > 0,
    useKey: (secret) => void used.push(secret),
    askForKey: () => {},
  };
  await doing(() => render(<View environment={environment} epoch="hr_1" />, root));
  return { source, used, copied };
}

async function doing(something: () => unknown): Promise<void> {
  await act(() => void something());
  await act(settle);
}

const names = () => [...root.querySelectorAll("tbody tr")].map((row) => row.getAttribute("data-key"));
const button = (name: string) =>
  [...root.querySelectorAll("button")].findLast(
    (found) => (found.getAttribute("aria-label") ?? found.textContent) === name,
  );
const press = (name: string) => doing(() => button(name)?.click());
const type = (id: string, text: string) =>
  doing(() => {
    const input = root.querySelector<HTMLInputElement>(`#${id}`);
    if (input === null) throw new Error(`there is no ${id}`);
    input.value = text;
    input.dispatchEvent(new Event("input", { bubbles: true }));
  });
const dialog = () => root.querySelector("dialog");

test("admins see the keys that are good, and on demand those that ended", async () => {
  await show(ADMIN);
  expect(names()).toEqual(["key_own", "key_b"]);
  expect(root.querySelector("[role=status]")?.textContent).toBe("2 good, 1 revoked or expired");
  expect(root.querySelector("[data-key=key_b]")?.textContent).toContain("$3.40 of $10 today");
  expect(root.querySelector("[data-key=key_own]")?.textContent).toContain("in use here");
  await doing(() => root.querySelector<HTMLInputElement>("input[type=checkbox]")?.click());
  expect(names()).toContain("key_c");
  expect(button("Rotate lost")).toBeUndefined();
});

test("a key is made, shown once, and not lost by a stray Escape", async () => {
  const { source, copied } = await show(ADMIN);
  await press("New key");
  await type("key-owner", "search");
  await type("key-day_usd", "2.50");
  await press("Make the key");
  expect(source.calls).toContainEqual({ owner: "search", role: "member", budget: { day_usd: "2.50" } });
  expect(root.querySelector<HTMLInputElement>("#made-key")?.value).toBe("hr_brand_new");
  expect(dialog()?.textContent).toContain("shown only this once");
  await doing(() => dialog()?.dispatchEvent(new Event("cancel", { cancelable: true })));
  expect(dialog()?.textContent).toContain("not copied yet");
  await press("Copy the key");
  expect(copied).toEqual(["hr_brand_new"]);
  await doing(() => dialog()?.dispatchEvent(new Event("cancel", { cancelable: true })));
  expect(dialog()).toBeNull();
  expect(root.innerHTML).not.toContain("hr_brand_new");
});

test("what the relay finds wrong stands at its field, which gets the focus", async () => {
  await show(ADMIN, (source) => {
    const create = source.create.bind(source);
    source.create = async (body) => {
      if (body.owner === "!") throw new SourceError("refused", "an owner begins with a letter", "owner");
      return create(body);
    };
  });
  await press("New key");
  await type("key-owner", "!");
  await press("Make the key");
  const owner = root.querySelector("#key-owner");
  expect(owner?.getAttribute("aria-invalid")).toBe("true");
  expect(root.querySelector("#key-owner-hint")?.textContent).toBe("an owner begins with a letter");
  expect(document.activeElement).toBe(owner);
});

test("revoking asks first, and says so when it is the key in use", async () => {
  const { source } = await show(ADMIN);
  await press("Revoke mine");
  expect(dialog()?.textContent).toContain("you will be asked for another key");
  await press("Cancel");
  expect(source.calls).toEqual(["list"]);
  await press("Revoke laptop");
  expect(dialog()?.textContent).not.toContain("another key");
  await press("Revoke");
  expect(source.calls).toContainEqual(["revoke", "key_b"]);
  expect(names()).toEqual(["key_own"]);
});

test("rotating asks how long the old one lasts; of the key in use the page goes on with the new one", async () => {
  const { source, used } = await show(ADMIN);
  await press("Rotate laptop");
  await press("Rotate");
  expect(source.calls).toContainEqual(["rotate", "key_b", 86_400]);
  expect(used).toEqual([]);
  await press("Done");
  await press("Rotate mine");
  await doing(() => {
    const select = root.querySelector<HTMLSelectElement>("#keep-old");
    if (select === null) throw new Error("there is no choice");
    select.value = "0";
    select.dispatchEvent(new Event("change", { bubbles: true }));
  });
  await press("Rotate");
  expect(source.calls).toContainEqual(["rotate", "key_own", 0]);
  expect(used).toEqual(["hr_rotated"]);
  expect(dialog()?.textContent).toContain("This page uses it already.");
});

test("members are told whom to ask, and nothing is asked of the relay", async () => {
  const { source } = await show({ owner: "search", role: "member", keys_required: true });
  expect(root.textContent).toContain("Keys are managed by admins");
  expect(source.calls).toEqual([]);
});

test("without any key it is told how to make the first", async () => {
  const { source } = await show({ owner: "", role: "admin", keys_required: false });
  expect(root.querySelector("code")?.textContent).toBe("headrace keys create --owner NAME --admin --store URL");
  expect(source.calls).toEqual([]);
});
