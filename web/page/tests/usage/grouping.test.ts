import { expect, test } from "vitest";
import { groupWords, headOf, nounOf, wireOf } from "../../src/usage/grouping.ts";

test.each([
  ["model", "", "model", "Model"],
  ["day", "", "day", "Day"],
  ["tag", "Team", "tag:Team", "Tag Team"],
  ["tag", "", null, "Tag "],
  ["tag", "a,b", null, "Tag a,b"],
  ["tag", "-x", null, "Tag -x"],
] as const)("%s %s is %s to the relay and heads its column as %s", (name, tag, wire, head) => {
  expect([wireOf({ name, tag }), headOf({ name, tag })]).toEqual([wire, head]);
  expect(nounOf({ name, tag })).toBe(name === "tag" ? `tag ${tag}` : name);
});

test("requests without what is grouped by have words of their own", () => {
  expect(groupWords({ name: "tag", tag: "team" }, "")).toBe("without this tag");
  expect(groupWords({ name: "key", tag: "" }, "")).toBe("no key");
  expect(groupWords({ name: "model", tag: "" }, "")).toBe("unknown model");
  expect(groupWords({ name: "owner", tag: "" }, "ops")).toBe("ops");
});
