// @vitest-environment jsdom
import { readFileSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { FIXED, oneShot, randomPieces, seeded, stream } from "./harness.ts";

interface Attack {
  readonly name: string;
  readonly markdown: string;
}

const ATTACKS: Attack[] = JSON.parse(readFileSync(`${import.meta.dirname}/attacks.json`, "utf8"));

/** All that the renderer makes; formulas have a namespace of their own. */
const ELEMENTS = new Set(
  "a b blockquote br button code del div em h1 h2 h3 h4 h5 h6 hr img input li ol p pre section span strong sup table tbody td th thead tr ul".split(
    " ",
  ),
);
const ATTRIBUTES = new Set(
  "alt aria-label checked class disabled href id rel role scope src start tabindex target title type".split(" "),
);

/** What is wrong with a tree, in words. */
function faults(root: HTMLElement): string[] {
  const found: string[] = [];
  for (const element of root.querySelectorAll("*")) {
    if (element.namespaceURI === "http://www.w3.org/1998/Math/MathML") {
      for (const name of ["href", "id", "src", "xlink:href", "onclick"])
        if (element.hasAttribute(name)) found.push(`math ${name}`);
      if (/url|expression/i.test(element.getAttribute("style") ?? "")) found.push("math style");
      continue;
    }
    if (!ELEMENTS.has(element.localName)) found.push(`<${element.localName}>`);
    for (const { name, value } of element.attributes) {
      if (!ATTRIBUTES.has(name)) found.push(`${name}=${value}`);
      if (name === "href" && !/^(?:https?:\/\/|mailto:|#t-(?:note|mark)-[a-z0-9-]+$)/.test(value))
        found.push(`href=${value}`);
      if (name === "src" && !/^data:image\/(?:png|jpeg|gif|webp)[;,]/.test(value)) found.push(`src=${value}`);
      if (name === "id" && !value.startsWith("t-")) found.push(`id=${value}`);
    }
  }
  return found;
}

test("there are enough attacks", () => {
  expect(ATTACKS.length).toBeGreaterThanOrEqual(40);
});

test.each(ATTACKS)("$name: leaves nothing behind, at once or in pieces", async ({ name, markdown }) => {
  const errors: unknown[] = [];
  const options = { ...FIXED, highlight: true, onError: (error: unknown) => errors.push(error) };
  const whole = oneShot(markdown, options);
  expect(faults(whole)).toEqual([]);
  const pieces = randomPieces(markdown, 6, seeded(name.length));
  const root = stream(pieces, (step) => expect(faults(step)).toEqual([]), options);
  await vi.dynamicImportSettled();
  await new Promise((done) => setTimeout(done, 60));
  expect(faults(root)).toEqual([]);
  expect(faults(whole)).toEqual([]);
  expect(errors).toEqual([]);
  expect("pwned" in window).toBe(false);
});
