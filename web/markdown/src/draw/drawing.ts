import type { Block, BlockSink, Target } from "../blocks/block.ts";
import { CodePart } from "./code_part.ts";
import type { Part } from "./part.ts";
import { TablePart } from "./table_part.ts";
import { TextPart } from "./text_part.ts";
import { make, type Tools } from "./tools.ts";

/** Draws blocks below a root as they are read. A block that is closed is not touched again. */
export class Drawing implements BlockSink<Part> {
  readonly root: Part;
  readonly #tools: Tools;
  /** The text that grows; there is one at most. */
  #growing: TextPart | null = null;

  constructor(root: HTMLElement, tools: Tools) {
    this.root = { inner: root, outer: root };
    this.#tools = tools;
  }

  /** Bring the growing text up to what was read. */
  draw(): void {
    this.#growing?.draw();
  }

  /** The text breaks off: what grows stays as it is drawn, with what is undecided held back. */
  cut(): void {
    this.#growing?.cut();
  }

  open(parent: Part, block: Block): Part {
    const part = this.#make(block);
    if (block.type !== "footnote") this.#append(parent, part.outer);
    if (part instanceof TextPart) this.#growing = part;
    return part;
  }

  append(leaf: Part, text: string): void {
    leaf.append?.(text);
  }

  retract(paragraph: Part, units: number): void {
    if (paragraph instanceof TextPart) paragraph.retract(units);
  }

  promote(paragraph: Part, level: number): Part {
    if (paragraph instanceof TextPart) paragraph.moveTo(this.#heading(level));
    return paragraph;
  }

  expectFormula(): void {
    this.#tools.formulas?.expect();
  }

  row(table: Part, cells: readonly string[]): void {
    if (table instanceof TablePart) table.row(cells);
  }

  loosen(list: Part): void {
    list.inner.classList.remove("md-tight");
    if (list.inner.className === "") list.inner.removeAttribute("class");
  }

  define(label: string, target: Target): void {
    this.#tools.references.define(label, target);
  }

  close(part: Part): void {
    part.close?.();
    if (this.#growing === part) this.#growing = null;
  }

  remove(part: Part): void {
    part.outer.remove();
    if (this.#growing === part) this.#growing = null;
  }

  /** Footnotes stay below everything else. */
  #append(parent: Part, element: HTMLElement): void {
    const { section } = this.#tools.footnotes;
    if (parent === this.root && section !== null) section.before(element);
    else parent.inner.append(element);
  }

  #make(block: Block): Part {
    const tools = this.#tools;
    switch (block.type) {
      case "paragraph":
        return this.#paragraph(block.task);
      case "heading":
        return new TextPart(this.#heading(block.level), tools);
      case "code":
        return new CodePart(block.language, tools);
      case "table":
        return new TablePart(block.columns, tools);
      case "formula":
        return this.#formula();
      case "list":
        return plain(this.#list(block.start));
      case "footnote":
        return plain(tools.footnotes.add(this.root.inner, block.label, tools));
      default:
        return plain(make(tools, TAGS[block.type]));
    }
  }

  #heading(level: number): HTMLElement {
    return make(this.#tools, HEADINGS[level - 1] ?? "h6");
  }

  #list(start: number | null): HTMLElement {
    const attributes: Record<string, string> = start === null || start === 1 ? {} : { start: String(start) };
    return make(this.#tools, start === null ? "ul" : "ol", "md-tight", attributes);
  }

  #paragraph(task: boolean | null): Part {
    const paragraph = make(this.#tools, "p");
    if (task === null) return new TextPart(paragraph, this.#tools);
    const { labels } = this.#tools;
    const box = make(this.#tools, "input", "md-task", {
      type: "checkbox",
      disabled: "",
      "aria-label": task ? labels.done : labels.open,
    });
    if (task) box.setAttribute("checked", "");
    const text = make(this.#tools, "span");
    paragraph.append(box, text);
    return new TextPart(text, this.#tools, paragraph);
  }

  #formula(): Part {
    const box = make(this.#tools, "div", "md-formula");
    const code = make(this.#tools, "code", "md-tex md-display");
    box.append(code);
    const { formulas } = this.#tools;
    const close = () => formulas?.set(code, code.textContent ?? "", true, () => {});
    return { inner: code, outer: box, append: (text) => code.append(text), close };
  }
}

const HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"] as const;
const TAGS = { document: "div", quote: "blockquote", item: "li", rule: "hr" } as const;

function plain(element: HTMLElement): Part {
  return { inner: element, outer: element };
}
