import { describe, expect, test } from "vitest";
import { dayAfter, daysInWords, daysOf, eachOf, faultOf, fileNameOf, MAX_DAYS } from "../../src/usage/period.ts";

const NOW = Date.UTC(2026, 2, 1, 0, 30);
const CUSTOM = { first: "2026-02-27", last: "2026-03-01" };

describe("a period", () => {
  test.each([
    ["today", "2026-03-01", "2026-03-01"],
    ["week", "2026-02-23", "2026-03-01"],
    ["month", "2026-03-01", "2026-03-01"],
    ["last_month", "2026-02-01", "2026-02-28"],
    ["custom", "2026-02-27", "2026-03-01"],
  ] as const)("of %s are days of UTC", (period, first, last) => {
    expect(daysOf(period, CUSTOM, NOW)).toEqual({ first, last });
  });

  test("of last month, in January, is December's", () => {
    expect(daysOf("last_month", CUSTOM, Date.UTC(2026, 0, 31))).toEqual({ first: "2025-12-01", last: "2025-12-31" });
  });
});

describe("days", () => {
  test("are told one by one over the end of a month", () => {
    expect(eachOf(CUSTOM)).toEqual(["2026-02-27", "2026-02-28", "2026-03-01"]);
    expect(dayAfter("2026-12-31")).toBe("2027-01-01");
  });

  test.each([
    ["", "2026-03-01", "Choose the first and the last day."],
    ["2026-02-30", "2026-03-01", "Choose the first and the last day."],
    ["2026-03-02", "2026-03-01", "The first day is after the last."],
    ["1026-03-02", "2026-03-01", `Choose at most ${MAX_DAYS} days.`],
  ])("from %s to %s are not asked for", (first, last, fault) => {
    expect(faultOf({ first, last })).toBe(fault);
    expect(eachOf({ first, last })).toEqual([]);
  });

  test("of every number that may be asked for are told", () => {
    const last = new Date(Date.UTC(2026, 0, MAX_DAYS)).toISOString().slice(0, 10);
    expect(eachOf({ first: "2026-01-01", last })).toHaveLength(MAX_DAYS);
  });

  test("name a file", () => {
    expect(fileNameOf("month", { first: "2026-11-01", last: "2026-11-21" })).toBe("usage-2026-11.csv");
    expect(fileNameOf("today", { first: "2026-11-21", last: "2026-11-21" })).toBe("usage-2026-11-21.csv");
    expect(fileNameOf("custom", CUSTOM)).toBe("usage-2026-02-27-to-2026-03-01.csv");
  });

  test("are written as people do", () => {
    expect(daysInWords(CUSTOM)).toBe("Feb 27 – Mar 1, 2026");
    expect(daysInWords({ first: "2025-12-31", last: "2026-01-01" })).toBe("Dec 31, 2025 – Jan 1, 2026");
    expect(daysInWords({ first: "2026-01-01", last: "2026-01-01" })).toBe("Jan 1, 2026");
  });
});
