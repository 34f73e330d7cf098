// @vitest-environment jsdom
import { signal } from "@preact/signals";
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, expect, test } from "vitest";
import { type Caller, callerOf } from "../../src/relay/caller.ts";
import { SourceError } from "../../src/relay/problem.ts";
import { type UsageEnvironment, View } from "../../src/usage/view.tsx";
import { settle } from "../fakes.ts";
import { FakeUsage, lineJSON, reportOf } from "./kit.ts";

const root = document.createElement("div");
document.body.append(root);
afterEach(() => render(null, root));

const LINES = [lineJSON("small", 1), lineJSON("", 0, 2), lineJSON("large", 1000, 204)];

async function show(me: Record<string, unknown>, prepare: (source: FakeUsage) => void = () => {}) {
  const source = new FakeUsage(reportOf(LINES, lineJSON("", 1001, 206)));
  prepare(source);
  const said: string[] = [];
  const environment: UsageEnvironment = {
    source,
    caller: signal<Caller | null>(callerOf({ owner: "search", keys_required: true, ...me })),
    identify: () => said.push("identify"),
    isAdmin: () => me.role === "admin",
    askForKey: () => said.push("key"),
    nowMs: () => Date.UTC(2026, 10, 21),
    save: (name) => said.push(name),
  };
  const open = (epoch: unknown) => doing(() => render(<View environment={environment} epoch={epoch} />, root));
  await open("hr_1");
  return { source, said, open };
}

async function doing(something: () => unknown): Promise<void> {
  await act(() => void something());
  await act(settle);
}

const rows = () => [...root.querySelectorAll("tbody tr, tfoot tr")].map((row) => row.textContent);
const field = (name: string) => {
  const label = [...root.querySelectorAll("label")].find(({ textContent }) => textContent === name);
  return root.querySelector<HTMLSelectElement>(`#${label?.htmlFor}`);
};
const choose = (name: string, value: string) =>
  doing(() => {
    const select = field(name);
    if (select === null) throw new Error(`there is no field ${name}`);
    select.value = value;
    select.dispatchEvent(new Event("change", { bubbles: true }));
  });
const press = (name: string) =>
  doing(() => [...root.querySelectorAll("button")].find(({ textContent }) => textContent === name)?.click());

test("groups stand by their size, with what is estimated told apart, and their total", async () => {
  await show({ role: "member" });
  expect(rows().map((row) => row?.slice(0, 5))).toEqual(["large", "unkno", "small", "Total"]);
  expect(rows()[0]).toContain("1,204 (204 estimated)");
  expect(rows()[0]).toContain("$1.20 ($0.20 estimated)");
  expect(rows()[3]).toContain("$1.21");
  const heads = [...root.querySelectorAll("thead th")].map(({ textContent }) => textContent);
  expect(heads).toEqual(["Model", "Requests", "Prompt", "Cached", "Completion", "Delivered", "Cost"]);
});

test("a picture has a bar for each group, told apart likewise", async () => {
  await show({ role: "member" });
  const widths = [...root.querySelectorAll("rect")].map((bar) => Number(bar.getAttribute("width")));
  expect(widths).toHaveLength(6);
  expect(widths[0]).toBeGreaterThan((widths[1] ?? 0) * 4);
  expect(root.querySelector("svg")?.getAttribute("aria-hidden")).toBe("true");
});

test("only admins are offered owners", async () => {
  await show({ role: "member" });
  const options = () => [...(field("Group by")?.options ?? [])].map(({ value }) => value);
  expect(options()).toEqual(["model", "key", "day", "tag"]);
  render(null, root);
  await show({ role: "admin" });
  expect(options()).toContain("owner");
});

test("days stand in their order, with a bar for each", async () => {
  const { source } = await show({ role: "member" }, (made) => {
    made.answer = reportOf([lineJSON("2026-11-02", 1), lineJSON("2026-11-20", 9)], lineJSON("", 10));
  });
  await choose("Group by", "day");
  expect(source.asked.at(-1)?.by).toBe("day");
  expect(rows().map((row) => row?.slice(0, 10))).toEqual([
    "2026-11-02",
    "2026-11-20",
    expect.stringContaining("Total"),
  ]);
  expect(root.querySelectorAll("rect[data-part=reported]")).toHaveLength(21);
});

test("one's own budget is told, and that it is used up", async () => {
  await show({ budget: { day_usd: "10", month_usd: "20" }, spent: { day_usd: "3.4", month_usd: "20.5" } });
  const said = [...root.querySelectorAll(".usage-budget p")].map(({ textContent }) => textContent);
  expect(said).toEqual(["$3.40 of $10 today", "$20.50 of $20 this month The budget is used up."]);
});

test("another key asks anew", async () => {
  const { source, said, open } = await show({ role: "member" }, (made) => {
    made.failure = new SourceError("unauthorized", "no");
  });
  expect(root.querySelector("[role=alert]")?.textContent).toContain("asks for an API key");
  await press("Enter a key");
  source.failure = null;
  await open("hr_2");
  expect(root.querySelector("[role=alert]")).toBeNull();
  expect(rows()).toHaveLength(4);
  expect(said).toEqual(["identify", "key", "identify"]);
});

test("the file is saved; no usage is said in words", async () => {
  const { said } = await show({ role: "member" }, (made) => {
    made.answer = reportOf([], {});
  });
  await press("Download CSV");
  expect(said).toContain("usage-2026-11.csv");
  expect(root.textContent).toContain("Nothing was used in this time");
});
