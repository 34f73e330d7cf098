// @vitest-environment jsdom
import { expect, test } from "vitest";
import { examples, FIXED, oneShot } from "./harness.ts";

/** Examples that this dialect reads otherwise, beside those with raw HTML, which is text here. */
const OTHERWISE: ReadonlyMap<number, string> = new Map([
  [34, "entities in the word of a fence stand as they are"],
  [540, "labels match by lower case, not by Unicode case folding"],
  [608, "bare addresses are links (GFM 6.9)"],
  [611, "bare addresses are links (GFM 6.9)"],
  [612, "bare addresses are links (GFM 6.9)"],
]);

/** Take off what is ours: boxes, classes, addresses that are not let through. */
function plain(html: string): string {
  const root = document.createElement("div");
  root.innerHTML = html;
  for (const box of root.querySelectorAll(".md-code")) {
    const pre = document.createElement("pre");
    const code = document.createElement("code");
    const language = box.querySelector(".md-language")?.textContent ?? "";
    if (language !== "") code.className = `language-${language}`;
    code.textContent = box.querySelector("pre")?.textContent ?? "";
    pre.append(code);
    box.replaceWith(pre);
  }
  for (const paragraph of root.querySelectorAll(".md-tight > li > p")) paragraph.replaceWith(...paragraph.childNodes);
  for (const list of root.querySelectorAll(".md-tight")) list.removeAttribute("class");
  for (const link of root.querySelectorAll("a"))
    for (const name of link.getAttributeNames()) link.removeAttribute(name);
  for (const image of root.querySelectorAll("img")) image.replaceWith(image.alt);
  for (const image of root.querySelectorAll(".md-image")) image.replaceWith(...image.childNodes);
  root.normalize();
  return root.innerHTML
    .replace(/\s*\n\s*/g, "\n")
    .replace(/>\n|\n</g, (found) => found.trim())
    .trim();
}

test("CommonMark's examples without raw HTML are read as the specification says", () => {
  const wrong = examples("commonmark").filter(({ number, markdown, html }) => {
    const isRawHtml = /<(?![^<>\s]*[:@][^<>\s]*>)[A-Za-z/!?]/.test(markdown);
    if (OTHERWISE.has(number) || isRawHtml) return false;
    return plain(oneShot(markdown, { ...FIXED, math: false }).innerHTML) !== plain(html);
  });
  expect(wrong).toEqual([]);
});

test("what is listed as read otherwise is read otherwise", () => {
  const same = examples("commonmark").filter(({ number, markdown, html }) => {
    return OTHERWISE.has(number) && plain(oneShot(markdown, { ...FIXED, math: false }).innerHTML) === plain(html);
  });
  expect(same.map(({ number }) => number)).toEqual([]);
});
