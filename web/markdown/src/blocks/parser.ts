import type { Limits } from "../limits.ts";
import type { Block, BlockSink } from "./block.ts";
import { Code } from "./code.ts";
import { withoutBackslashes } from "./definitions.ts";
import { Formula } from "./formula.ts";
import { Heading } from "./heading.ts";
import { Paragraph } from "./paragraph.ts";
import type { Frame, Leaf, Plan } from "./plan.ts";
import { readLine } from "./reader.ts";
import { splitRow } from "./table.ts";
import { isDecided } from "./undecided.ts";

/** An open block: what reading knows of it, and what it does. */
interface Node<H> {
  frame: Frame;
  readonly handle: H;
  readonly leaf: Paragraph<H> | Code<H> | Formula<H> | null;
}

/** A task's box at the start of an item's first paragraph (GFM 5.3). */
const TASK = /^\[([ xX])\][ \t]+(?=\S)/;

/**
 * Reads blocks line by line, in time linear in the text: a line is looked at once, against the blocks that are open.
 *
 * This is CommonMark's own parsing strategy, without raw HTML (which is text here), and with tables, tasks, footnotes and
 * formulas. A line whose meaning is decided may be begun before its end has come.
 */
export class BlockParser<H> {
  readonly #sink: BlockSink<H>;
  readonly #limits: Limits;
  readonly #math: boolean;
  readonly #nodes: Node<H>[];
  /** What the rest of the begun line goes to. */
  #growing: Paragraph<H> | Code<H> | Heading<H> | null = null;
  /** The last line was blank, to containers deeper than this; null if it was not. */
  #blankBelow: number | null = null;

  constructor(sink: BlockSink<H>, root: H, options: { readonly limits: Limits; readonly math: boolean }) {
    this.#sink = sink;
    this.#limits = options.limits;
    this.#math = options.math;
    this.#nodes = [{ frame: { type: "document" }, handle: root, leaf: null }];
  }

  /** Begin a line of which `text` has come, if that tells what it is; returns whether. `grow` and `endLine` follow then. */
  tryBegin(text: string): boolean {
    const plan = this.#read(text);
    const isForced = text.length > this.#limits.line;
    if (!isForced && !isDecided(plan, this.#nodes.at(-1)?.frame)) return false;
    this.#apply(plan);
    return true;
  }

  /** More of the line that was begun. */
  grow(text: string): void {
    this.#growing?.grow(text);
  }

  endLine(): void {
    if (this.#growing instanceof Heading) this.#growing.close();
    else this.#growing?.endLine();
    this.#growing = null;
  }

  /** Take a whole line, without its end. */
  line(text: string): void {
    this.#apply(this.#read(text));
    this.endLine();
  }

  /** The text is over. */
  close(): void {
    this.endLine();
    this.#closeTo(1);
  }

  /** The text breaks off: a formula without its end, and code without a line, are not there. */
  cut(): void {
    const tip = this.#nodes.at(-1);
    const isEmpty = tip?.leaf instanceof Code && tip.leaf.isEmpty;
    if (isEmpty) this.#sink.remove(tip.handle);
    if (isEmpty || tip?.leaf instanceof Formula) this.#nodes.pop();
    this.close();
  }

  #read(text: string): Plan {
    const tip = this.#nodes.at(-1);
    return readLine(text, {
      frames: this.#nodes.map((node) => node.frame),
      header: tip?.leaf instanceof Paragraph ? tip.leaf.header : null,
      math: this.#math,
      limits: this.#limits,
    });
  }

  #apply(plan: Plan): void {
    const { leaf } = plan;
    this.#closeTo(plan.kept);
    for (const block of plan.opened) this.#openContainer(block);
    this.#addLeaf(leaf);
    const isBlank = leaf.type === "blank" || (leaf.type === "verbatim" && leaf.text.trim() === "" && this.#isIndented);
    this.#blankBelow = isBlank && plan.opened.length === 0 ? this.#lastQuote() : null;
  }

  get #isIndented(): boolean {
    return this.#nodes.at(-1)?.frame.type === "indented";
  }

  #lastQuote(): number {
    return this.#nodes.findLastIndex((node) => node.frame.type === "quote");
  }

  #addLeaf(leaf: Leaf): void {
    switch (leaf.type) {
      case "blank":
        return;
      case "paragraph":
        this.#openParagraph(leaf.text);
        return;
      case "continue":
      case "verbatim":
        this.#addLine(leaf.text);
        return;
      case "heading":
        this.#growing = new Heading(this.#sink, this.#child({ type: "heading", level: leaf.level }), leaf.text);
        return;
      case "underline":
        this.#underline(leaf.level);
        return;
      case "rule":
        this.#sink.close(this.#child({ type: "rule" }), true);
        return;
      case "fence":
      case "indented":
        this.#openCode(leaf);
        return;
      case "formula":
        this.#openFormula(leaf);
        return;
      case "close":
        this.#closeLeaf(leaf.text);
        return;
      case "columns":
        this.#openTable(leaf);
        return;
      case "row":
        this.#sink.row(this.#tip.handle, splitRow(leaf.text));
        return;
    }
  }

  get #tip(): Node<H> {
    const tip = this.#nodes.at(-1);
    if (tip === undefined) throw new Error("the document is always open");
    return tip;
  }

  /** Make room for a child: leaves hold none, a list holds items only, and blank lines before it set items apart. */
  #adopt(type: Block["type"]): H {
    if (isLeaf(this.#tip.frame)) this.#closeTo(this.#nodes.length - 1);
    if (type !== "item" && this.#tip.frame.type === "list") this.#closeTo(this.#nodes.length - 1);
    const { frame, handle } = this.#tip;
    const depth = this.#nodes.length - 1;
    const isApart = this.#blankBelow !== null && depth > this.#blankBelow;
    if (frame.type === "list" && isApart) this.#sink.loosen(handle);
    if (frame.type === "item") {
      const list = this.#nodes[depth - 1];
      if (isApart && !frame.isEmpty && list !== undefined) this.#sink.loosen(list.handle);
      this.#tip.frame = { ...frame, isEmpty: false };
    }
    return handle;
  }

  #child(block: Block): H {
    return this.#sink.open(this.#adopt(block.type), block);
  }

  #openContainer(block: Block): void {
    const handle = this.#child(block);
    this.#nodes.push({ frame: frameOf(block), handle, leaf: null });
    this.#blankBelow = null;
  }

  #openParagraph(text: string): void {
    const { frame } = this.#tip;
    const task = frame.type === "item" && frame.isEmpty ? TASK.exec(text) : null;
    const parent = this.#adopt("paragraph");
    const paragraph = new Paragraph(this.#sink, parent, task === null ? null : task[1] !== " ", this.#limits);
    this.#push({ type: "paragraph" }, parent, paragraph);
    this.#growing = paragraph;
    paragraph.addLine(text.slice(task?.[0].length ?? 0));
  }

  #push(frame: Frame, handle: H, leaf: Node<H>["leaf"]): void {
    this.#nodes.push({ frame, handle, leaf });
  }

  #addLine(text: string): void {
    const { leaf, handle } = this.#tip;
    if (leaf === null) return;
    leaf.addLine(text);
    if (!(leaf instanceof Formula)) this.#growing = leaf;
    else if (leaf.isTooLong) {
      this.#nodes.pop();
      this.#push({ type: "paragraph" }, handle, leaf.giveUp());
    }
  }

  #openCode(leaf: Leaf & { type: "fence" | "indented" }): void {
    const isFence = leaf.type === "fence";
    const language = isFence ? withoutBackslashes(leaf.info.trim().split(/\s/, 1)[0] ?? "") : "";
    const handle = this.#child({ type: "code", language });
    const code = new Code(this.#sink, handle, isFence);
    this.#push(isFence ? leaf : { type: "indented" }, handle, code);
    if (isFence) return;
    this.#growing = code;
    code.addLine(leaf.text);
  }

  #openFormula(leaf: Leaf & { type: "formula" }): void {
    const parent = this.#adopt("formula");
    const formula = new Formula(this.#sink, parent, this.#limits, leaf.end, leaf.isWhole ? "" : leaf.text);
    if (leaf.isWhole) formula.finish(leaf.text);
    else {
      this.#push({ type: "formula", end: leaf.end }, parent, formula);
      this.#sink.expectFormula();
    }
  }

  #openTable(leaf: Leaf & { type: "columns" }): void {
    const paragraph = this.#tip.leaf;
    if (!(paragraph instanceof Paragraph)) return;
    const header = paragraph.header ?? "";
    const isLeft = paragraph.takeHeader();
    this.#nodes.pop();
    if (isLeft) paragraph.close();
    const handle = this.#child({ type: "table", columns: leaf.columns });
    this.#push({ type: "table" }, handle, null);
    this.#sink.row(handle, splitRow(header));
  }

  #underline(level: number): void {
    const paragraph = this.#tip.leaf;
    if (!(paragraph instanceof Paragraph)) return;
    this.#nodes.pop();
    if (!paragraph.promote(level)) this.#openParagraph(level === 1 ? "===" : "---");
  }

  #closeLeaf(text: string): void {
    const leaf = this.#nodes.pop()?.leaf;
    if (leaf instanceof Formula) leaf.finish(text);
    else if (leaf instanceof Code) leaf.close(true);
  }

  #closeTo(kept: number): void {
    while (this.#nodes.length > kept) {
      const node = this.#nodes.pop();
      if (node === undefined) return;
      if (node.leaf instanceof Formula) node.leaf.giveUp().close();
      else if (node.leaf === null) this.#sink.close(node.handle, true);
      else node.leaf.close(false);
    }
  }
}

function isLeaf(frame: Frame): boolean {
  return frame.type === "paragraph" || frame.type === "table";
}

function frameOf(block: Block): Frame {
  if (block.type === "list") return block;
  if (block.type === "item") return { ...block, isEmpty: true };
  return block.type === "footnote" ? { type: "footnote" } : { type: "quote" };
}
