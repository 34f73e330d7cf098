import { describe, expect, test } from "vitest";
import { readReport } from "../../src/usage/report.ts";
import { costTold, countTold } from "../../src/usage/wording.ts";
import { lineJSON, reportOf } from "./kit.ts";

/** Returns a line read back. */
function line(reported: number, estimated = 0, more: Record<string, unknown> = {}) {
  return reportOf([], lineJSON("", reported, estimated, more)).total;
}

describe("a report", () => {
  test("is read with its parts told apart", () => {
    const { lines, total, hasMore } = reportOf([lineJSON("m", 2, 1)], lineJSON("", 2, 1), true);
    expect(lines[0]).toMatchObject({ group: "m", requests: 3, prompt: 300, completion: 1200, delivered: 1170 });
    expect(lines[0]?.reported).toEqual({ requests: 2, prompt: 200, cached: 20, completion: 800, cost: 0.002 });
    expect([total.cost, hasMore]).toEqual([0.003, true]);
  });

  test("with fields of other types counts them as nothing; what is none is none", () => {
    const odd = readReport({ data: [{ group: "x", requests: "3", cost_usd: null }, 7, null], total: 1 });
    expect(odd?.lines).toMatchObject([{ group: "", requests: 0, cost: 0 }]);
    expect([readReport(null), readReport({ data: {} }), readReport([])]).toEqual([null, null, null]);
  });

  test("of more groups than can be shown says so", () => {
    const many = Array.from({ length: 1200 }, (_, index) => lineJSON(`m${index}`, 1));
    const report = reportOf(many, lineJSON("", 1200));
    expect([report.lines.length, report.hasMore]).toEqual([1000, true]);
  });
});

describe("in words", () => {
  test.each([
    [3, 0, "3", null],
    [1000, 204, "1,204", "204 estimated"],
    [0, 5, "5", "estimated"],
    [0, 0, "0", null],
  ])("%d counted requests and %d estimated are %s, %s", (reported, estimated, main, note) => {
    expect(countTold(line(reported, estimated), "requests")).toEqual({ main, note });
  });

  test("a cost says what is estimated of it, and what has no price", () => {
    expect(costTold(line(3400, 0))).toEqual({ main: "$3.40", note: null });
    expect(costTold(line(3000, 400))).toEqual({ main: "$3.40", note: "$0.40 estimated" });
    expect(costTold(line(3, 1, { unpriced_requests: 1 }))).toEqual({
      main: "$0.0040",
      note: "$0.0010 estimated, without 1 request of no known price",
    });
  });

  test("what has no price at all costs no zero", () => {
    const free = { cost_usd: "0", unpriced_requests: 4 };
    expect(costTold(line(4, 0, free))).toEqual({ main: "no price known", note: null });
    expect(costTold(line(4, 0, { cost_usd: "0" }))).toEqual({ main: "$0", note: null });
  });
});
