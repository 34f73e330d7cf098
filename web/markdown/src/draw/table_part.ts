import type { Align } from "../blocks/block.ts";
import { InlineText } from "./inline_text.ts";
import type { Part } from "./part.ts";
import { make, type Tools } from "./tools.ts";

/** A table in a box of its own that scrolls. The first row is its head; the rest are appended one by one. */
export class TablePart implements Part {
  readonly outer: HTMLElement;
  readonly inner: HTMLElement;
  readonly #tools: Tools;
  readonly #columns: readonly Align[];
  #body: HTMLElement | null = null;
  #hasHead = false;

  constructor(columns: readonly Align[], tools: Tools) {
    this.#tools = tools;
    this.#columns = columns;
    this.outer = make(tools, "div", "md-table", { tabindex: "0", role: "region", "aria-label": tools.labels.table });
    this.inner = make(tools, "table");
    this.outer.append(this.inner);
  }

  /** Cells beyond the head's are left out, missing ones empty (GFM 4.10). */
  row(cells: readonly string[]): void {
    const row = make(this.#tools, "tr");
    for (const [index, align] of this.#columns.entries()) row.append(this.#cell(cells[index] ?? "", align));
    this.#place().append(row);
    this.#hasHead = true;
  }

  #cell(text: string, align: Align): HTMLElement {
    const name = align === null ? "" : `md-${align}`;
    const cell = this.#hasHead ? make(this.#tools, "td", name) : make(this.#tools, "th", name, { scope: "col" });
    const inline = new InlineText(cell, this.#tools);
    inline.append(text);
    inline.close();
    return cell;
  }

  #place(): HTMLElement {
    if (this.#hasHead && this.#body !== null) return this.#body;
    const place = make(this.#tools, this.#hasHead ? "tbody" : "thead");
    if (this.#hasHead) this.#body = place;
    this.inner.append(place);
    return place;
  }
}
