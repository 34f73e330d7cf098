import type { Part } from "./part.ts";
import { make, type Tools } from "./tools.ts";

/** A code block with its language and a button to copy it. Text that comes is appended; nothing is drawn twice. */
export class CodePart implements Part {
  readonly outer: HTMLElement;
  readonly inner: HTMLElement;
  readonly #tools: Tools;
  readonly #language: string;
  #last: Text | null = null;
  #length = 0;

  constructor(language: string, tools: Tools) {
    this.#tools = tools;
    this.#language = language;
    this.outer = make(tools, "div", "md-code");
    const name = make(tools, "span", "md-language");
    name.textContent = language;
    const copy = make(tools, "button", "md-copy", { type: "button" });
    copy.textContent = tools.labels.copy;
    const bar = make(tools, "div", "md-bar");
    bar.append(name, copy);
    const label = language === "" ? tools.labels.code : `${tools.labels.code}: ${language}`;
    const box = make(tools, "pre", "", { tabindex: "0", role: "region", "aria-label": label });
    this.inner = make(tools, "code");
    box.append(this.inner);
    this.outer.append(bar, box);
  }

  /** Text nodes are filled to a fixed length, so an append copies a bounded part and the nodes do not depend on chunks. */
  append(text: string): void {
    const most = this.#tools.limits.textNode;
    this.#tools.work.coded += text.length;
    this.#length += text.length;
    for (let at = 0; at < text.length; ) {
      if (this.#last === null || this.#last.length >= most) {
        this.#last = this.#tools.document.createTextNode("");
        this.#tools.work.nodes += 1;
        this.inner.append(this.#last);
      }
      const part = text.slice(at, at + most - this.#last.length);
      this.#last.appendData(part);
      at += part.length;
    }
  }

  close(): void {
    const { highlighter, limits } = this.#tools;
    if (this.#length <= limits.highlight) void highlighter?.colour(this.inner, this.#language);
  }
}
