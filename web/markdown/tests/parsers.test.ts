import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const ROOT = `${import.meta.dirname}/..`;

/** Ways to have text parsed as HTML, or run. */
const PARSERS =
  /innerHTML|outerHTML|insertAdjacentHTML|setHTML|DOMParser|createContextualFragment|document\.write|srcdoc|\beval\(|new Function\(/;

test("nothing in the package has text parsed as HTML", () => {
  const files = ["src", "dist"].flatMap((folder) =>
    readdirSync(`${ROOT}/${folder}`, { encoding: "utf8", recursive: true })
      .filter((name) => /\.[jt]s$/.test(name))
      .map((name) => `${folder}/${name}`),
  );
  expect(files).toContain("src/view.ts");
  expect(files).toContain("dist/view.js");
  const found = files.filter((file) => PARSERS.test(readFileSync(`${ROOT}/${file}`, "utf8")));
  expect(found).toEqual([]);
});

test("the search finds one", () => {
  expect(PARSERS.test("element.innerHTML = text")).toBe(true);
});
