// @vitest-environment jsdom
import { expect, test } from "vitest";
import { examples, firstFlash, oneShot, randomPieces, seeded, stream, visible } from "./harness.ts";

/** CommonMark examples in which a step may show what the end lacks, and why (README.md, "What may be shown"). */
const REFERENCE_BEFORE_DEFINITION = [
  23, 33, 203, 204, 214, 218, 527, 528, 529, 530, 531, 532, 533, 534, 535, 539, 542, 543, 549, 553, 554, 555, 556, 557,
  558, 559, 560, 561, 562, 565, 566, 568, 569, 570, 571, 573, 576, 577, 582, 583, 584, 585, 586, 587, 588, 589, 591,
  593,
];
const BACKTICKS_WITHOUT_PARTNER = [349];
const BRACKETS_IN_RAW_HTML = [524, 536];

const EXEMPT: ReadonlySet<string> = new Set(
  [...REFERENCE_BEFORE_DEFINITION, ...BACKTICKS_WITHOUT_PARTNER, ...BRACKETS_IN_RAW_HTML].map(
    (number) => `commonmark ${number}`,
  ),
);

/** Stream a text at random splits; return what was wrong. */
function faultsOf(name: string, markdown: string, seed: number): string[] {
  const random = seeded(seed);
  const whole = oneShot(markdown);
  const [text, notes] = visible(whole);
  const faults = new Set<string>();
  for (const most of markdown.length > 1000 ? [90, 400, 1500] : [1, 4, 17]) {
    const root = stream(randomPieces(markdown, most, random), (step) => {
      const [shown, shownNotes] = visible(step);
      const flash = EXEMPT.has(name) ? null : (firstFlash(shown, text) ?? firstFlash(shownNotes, notes));
      if (flash !== null) faults.add(`${name}: shows ${flash}`);
    });
    if (root.innerHTML !== whole.innerHTML)
      faults.add(`${name}: ends otherwise\n${root.innerHTML}\n${whole.innerHTML}`);
  }
  return [...faults];
}

for (const file of ["commonmark", "gfm"] as const) {
  test(`${file}: at any split the DOM ends as that of one shot, and nothing flashes`, { timeout: 300_000 }, () => {
    const all = examples(file);
    expect(all.length).toBe(file === "gfm" ? 24 : 652);
    expect(all.flatMap(({ number, markdown }) => faultsOf(`${file} ${number}`, markdown, number))).toEqual([]);
  });
}

const OWN: Readonly<Record<string, string>> = {
  "footnotes after use":
    "A fact[^1] and one[^long-name] more[^1], not [^none].\n\n[^1]: The *source*.\n[^long-name]: Two\n    lines.\n\nEnd.\n",
  "footnotes before use": "[^a]: First.\n\nText[^a].\n\n[^a]: Ignored.\n",
  formulas:
    "Let $x_1^2 + y*z*$ be, and \\(a_b\\) too, costs $5 and $10, $5.\n\n$$\na\n= b\n- c\n$$\n\n\\[ x \\]\n\n$$ no end\n\nEnd $",
  "formula within text": "It is $$x^2$$ here, \\[y\\] there, and \\$3 or $2 + 2 = 4$.",
  "table after text": "Look:\n| a | b |\n|---|:-:|\n| **x** | `y|` |\n| z |\nafter\n\nEnd | of it.\n",
  "pipes that are no table": "| a | b |\n| c | d |\n\n| e\n",
  "loose late": "- a\n- b\n  - c\n\n    d\n- e\n\n- f\n",
  tasks: "- [ ] open *x*\n- [x] done\n\n  more\n- [y] none\n- [link](https://x.invalid/)\n1. [X] one\n",
  "nested fences": "1. Do\n\n   ```sh\n   ls | wc\n   ```\n2. > quote\n   > ```\n   > code\n\n~~~\n```\n~~~\n",
  emphasis: "**bold *both* bold** _under_ snake_case_word ~~gone~~ 2 * 3 * 4 ***all*** **`code`** *a **b** c*\n",
  links:
    '[a *b* c](https://x.invalid/(p) "t") <https://y.invalid> www.z.invalid ![alt](https://r.invalid/i.png) [x] [y][z]\n',
  headings: "# A #\n## B ## c\n### `d` ###\n#no\nText\n===\nMore *text*\n---\n",
  "long paragraph": `${"Some **bold** words, `code` and [links](https://x.invalid/) in a row. ".repeat(120)}\n`,
  "long star": `A *star ${"and words without an end ".repeat(400)}\n\nNext.\n`,
  "reference late in a long paragraph": `[a] ${"word ".repeat(1200)} [b][c].\n\n[a]: https://x.invalid/\n[c]: https://y.invalid/ "t"\n`,
};

/** The texts in which a reference comes before its definition. */
const OWN_EXEMPT: ReadonlySet<string> = new Set(["reference late in a long paragraph"]);

test.each(Object.entries(OWN))("%s: the same holds", { timeout: 120_000 }, (name, markdown) => {
  const faults = faultsOf(name, markdown, name.length);
  expect(faults.filter((fault) => !OWN_EXEMPT.has(name) || fault.includes("otherwise"))).toEqual([]);
});

test("the check of flashes finds one", () => {
  expect(firstFlash("a**b", "ab")).not.toBeNull();
  expect(firstFlash("a[b](c", "ab")).not.toBeNull();
  expect(firstFlash("ab", "a**b")).toBeNull();
});
