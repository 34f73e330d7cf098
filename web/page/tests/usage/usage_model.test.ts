import { describe, expect, test } from "vitest";
import { SourceError } from "../../src/relay/problem.ts";
import { UsageModel } from "../../src/usage/usage_model.ts";
import { settle } from "../fakes.ts";
import { FakeUsage, lineJSON, reportOf } from "./kit.ts";

function usage({ isAdmin = false } = {}) {
  const source = new FakeUsage(reportOf([lineJSON("m", 1)], lineJSON("", 1)));
  const files: { name: string; file: Blob }[] = [];
  const around = {
    nowMs: () => Date.UTC(2026, 10, 21, 12),
    isAdmin: () => isAdmin,
    save: (name: string, file: Blob) => void files.push({ name, file }),
  };
  return { model: new UsageModel(source, around), source, files };
}

describe("usage", () => {
  test("is first asked for this month, by model", async () => {
    const { model, source } = usage();
    await model.load();
    expect(source.asked).toEqual([{ days: { first: "2026-11-01", last: "2026-11-21" }, by: "model" }]);
    expect(model.state.value).toMatchObject({ isAsking: false, problem: null, answered: { report: source.answer } });
  });

  test("of dates of one's own begins with those just shown", async () => {
    const { model, source } = usage();
    model.choose({ period: "week" });
    model.choose({ period: "custom" });
    await settle();
    expect(source.asked.at(-1)?.days).toEqual({ first: "2026-11-15", last: "2026-11-21" });
  });

  test("is not asked for with dates or tags that cannot be", async () => {
    const { model, source } = usage();
    model.choose({ period: "custom", custom: { first: "2026-11-21", last: "2026-11-20" } });
    expect(model.state.value.fault).toBe("The first day is after the last.");
    model.choose({ period: "today", grouping: { name: "tag", tag: "a b" } });
    expect(model.state.value.fault).toContain("name of a tag");
    expect(source.asked).toEqual([]);
    model.choose({ grouping: { name: "tag", tag: "team" } });
    await settle();
    expect([model.state.value.fault, source.asked[0]?.by]).toEqual([null, "tag:team"]);
  });

  test("that comes late is dropped for what was asked after", async () => {
    const { model, source } = usage();
    let answer = (): void => {};
    const late = new Promise<typeof source.answer>((resolve) => {
      answer = () => resolve(reportOf([], {}));
    });
    const report = source.report.bind(source);
    source.report = () => late;
    const first = model.load();
    source.report = report;
    await model.load();
    answer();
    await first;
    expect(model.state.value.answered?.report).toBe(source.answer);
  });

  test("that cannot be had keeps what was shown, and says why", async () => {
    const { model, source } = usage();
    await model.load();
    source.failure = new SourceError("unreachable", "gone");
    await model.load();
    expect(model.state.value.problem?.kind).toBe("unreachable");
    expect(model.state.value.answered).not.toBeNull();
    source.failure = null;
    await model.load();
    expect(model.state.value.problem).toBeNull();
  });

  test("is saved as a file named by its month", async () => {
    const { model, files } = usage();
    await model.download();
    expect(files[0]?.name).toBe("usage-2026-11.csv");
    expect(await files[0]?.file.text()).toBe("by model");
    expect(model.state.value.isSaving).toBe(false);
  });

  test("by key has the keys' names where they may be known, and goes without where not", async () => {
    const admin = usage({ isAdmin: true });
    admin.source.names.set("key_1", "laptop");
    admin.model.choose({ grouping: { name: "key", tag: "" } });
    await settle();
    expect(admin.model.state.value.answered?.keyNames.get("key_1")).toBe("laptop");
    admin.source.names.clear();
    await admin.model.load();
    expect(admin.model.state.value).toMatchObject({ problem: null, answered: { keyNames: new Map() } });
  });
});
