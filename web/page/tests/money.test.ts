import { describe, expect, test } from "vitest";
import { amountOf, formatLimit, formatMoney } from "../src/money.ts";

describe("an amount", () => {
  test.each([
    ["0", "$0"],
    ["0.0034875", "$0.0035"],
    ["0.0000021", "$0.0000021"],
    ["0.000000001", "$0.000000001"],
    ["0.0999", "$0.10"],
    ["0.00999", "$0.010"],
    ["0.999", "$1.00"],
    ["3.4", "$3.40"],
    ["1234.5678", "$1,234.57"],
    ["-0.5", "-$0.50"],
  ])("of %s is written %s", (text, words) => {
    expect(formatMoney(amountOf(text) ?? Number.NaN)).toBe(words);
  });

  test("that is not zero is never written as nothing", () => {
    for (let nano = 1; nano < 3e9; nano = Math.ceil(nano * 1.37)) {
      expect(
        Number(
          formatMoney(nano / 1e9)
            .slice(1)
            .replaceAll(",", ""),
        ),
      ).toBeGreaterThan(0);
    }
  });

  test("is read from strings and numbers, and from nothing else", () => {
    expect([amountOf("0.1"), amountOf(2), amountOf("1E-7")]).toEqual([0.1, 2, 1e-7]);
    const bad = [null, undefined, "", "x", "0x10", " 1", "1,5", "Infinity", Number.NaN, {}, "1".repeat(400)];
    expect(bad.map(amountOf)).toEqual(bad.map(() => null));
  });

  test.each([
    [10, "$10"],
    [2500, "$2,500"],
    [2.5, "$2.50"],
    [0.0001, "$0.0001"],
    [1.23456, "$1.23456"],
    [0, "$0"],
  ])("of %d as a limit is %s", (limit, words) => {
    expect(formatLimit(limit)).toBe(words);
  });
});
