import { normalLabel } from "../blocks/definitions.ts";
import type { References } from "./references.ts";
import { make, type Tools } from "./tools.ts";

/** The footnotes below the text, and the marks in it that lead there. */
export class Footnotes {
  readonly #prefix: string;
  readonly #references: References;
  /** Which text has a footnote's first mark, the one that the way back leads to. */
  readonly #first = new Map<string, object>();
  #list: HTMLElement | null = null;
  /** The section, once there is a footnote; it stays the last child of the root. */
  section: HTMLElement | null = null;

  constructor(prefix: string, references: References) {
    this.#prefix = prefix;
    this.#references = references;
  }

  /** Add a footnote; returns where its blocks go: nowhere to be seen if there is one of this label. */
  add(root: HTMLElement, label: string, tools: Tools): HTMLElement {
    const key = normalLabel(label);
    const body = make(tools, "div");
    if (!this.#references.defineNote(label)) return body;
    const item = make(tools, "li", "", { id: this.#id("note", key), tabindex: "-1" });
    const back = make(tools, "a", "md-back", {
      href: `#${this.#id("mark", key)}`,
      role: "doc-backlink",
      "aria-label": `${tools.labels.backToText}: ${label}`,
    });
    back.textContent = key;
    item.append(back, body);
    this.#listIn(root, tools).append(item);
    return body;
  }

  /** Make a link of a mark whose footnote is there. */
  link(mark: Element, key: string): void {
    if (!this.#references.hasNote(key) || mark.firstElementChild !== null) return;
    const link = mark.ownerDocument.createElement("a");
    link.setAttribute("href", `#${this.#id("note", key)}`);
    link.setAttribute("role", "doc-noteref");
    link.textContent = key;
    mark.replaceChildren(link);
  }

  /** Of a text that is drawn for good: the way back leads to a footnote's first mark. */
  number(owner: object, marks: Iterable<{ readonly label: string; readonly mark: Element }>): void {
    const seen = new Set<string>();
    for (const { label, mark } of marks) {
      if (!this.#first.has(label)) this.#first.set(label, owner);
      if (this.#first.get(label) !== owner) continue;
      if (seen.has(label)) mark.firstElementChild?.removeAttribute("id");
      else mark.firstElementChild?.setAttribute("id", this.#id("mark", label));
      seen.add(label);
    }
  }

  #listIn(root: HTMLElement, tools: Tools): HTMLElement {
    if (this.#list !== null) return this.#list;
    this.section = make(tools, "section", "md-notes", { role: "doc-endnotes", "aria-label": tools.labels.footnotes });
    this.#list = make(tools, "ul");
    this.section.append(this.#list);
    root.append(this.section);
    return this.#list;
  }

  /** Letters, digits and dashes only, whatever the label holds. */
  #id(kind: string, key: string): string {
    const name = key.replace(/[^a-z0-9]/g, (unit) => `-${unit.charCodeAt(0).toString(16)}-`);
    return `${this.#prefix}-${kind}-${name}`;
  }
}
