import type { Inline } from "../inline/tree.ts";
import type { Tools } from "./tools.ts";

/** A piece of inline text and the node that shows it. */
export interface Drawn {
  inline: Inline;
  node: ChildNode;
  /** Of what stands in it, save in footnotes' marks, which are their own. */
  inner: Drawn[];
}

/** Where nodes go: at the end of `parent`, or before a child of it. */
export interface Place {
  readonly parent: Node;
  readonly before: ChildNode | null;
}

/** Elements inside one another; what is nested deeper is shown without its emphasis. */
const DEPTH = 32;

const SAFE_LINK = /^(?:https?:\/\/|mailto:)/i;
const SAFE_IMAGE = /^data:image\/(?:png|jpeg|gif|webp)[;,]/i;

/**
 * Draws inline text: the one place where text becomes elements, each made here, by name, with attributes that are set here.
 *
 * No HTML is parsed anywhere, so nothing that the text holds can become an element or attribute of its own choosing.
 */
export class InlineNodes {
  readonly #tools: Tools;

  constructor(tools: Tools) {
    this.#tools = tools;
  }

  /**
   * Make the nodes in a place that show `old` show `next`, changing as little as can be: text that only grew is appended to
   * the text node that is there, so a selection in it stays. Returns what is shown now.
   */
  update(place: Place, old: readonly Drawn[], next: readonly Inline[], depth = 0): Drawn[] {
    const shown = next.map((inline, index) => {
      const drawn = old[index];
      if (drawn !== undefined && this.#keep(drawn, inline, depth)) return drawn;
      const made = this.#make(inline, depth);
      if (drawn === undefined) place.parent.insertBefore(made.node, place.before);
      else drawn.node.replaceWith(made.node);
      return made;
    });
    for (let at = next.length; at < old.length; at += 1) old[at]?.node.remove();
    return shown;
  }

  /** Bring a node in line with `next`; false if it has to be made anew. */
  #keep(drawn: Drawn, next: Inline, depth: number): boolean {
    const { inline: old, node } = drawn;
    if (old === next) return true;
    if (!isAlike(old, next)) return false;
    if (next.type === "text") updateText(node, next.text);
    else if (next.type === "code" && node.firstChild !== null) updateText(node.firstChild, next.text);
    else this.#fill(drawn, next, depth);
    drawn.inline = next;
    return true;
  }

  #make(inline: Inline, depth: number): Drawn {
    this.#tools.work.nodes += 1;
    const drawn: Drawn = { inline, node: this.#nodeOf(inline), inner: [] };
    this.#fill(drawn, inline, depth);
    if (inline.type === "formula" && isElement(drawn.node)) {
      this.#tools.formulas?.set(drawn.node, inline.tex, inline.isDisplay, (math) => {
        drawn.node = math;
      });
    }
    return drawn;
  }

  /** What stands in an element. */
  #fill(drawn: Drawn, inline: Inline, depth: number): void {
    if ("inner" in inline) {
      const inner = depth < DEPTH ? inline.inner : flat(inline.inner);
      drawn.inner = this.update({ parent: drawn.node, before: null }, drawn.inner, inner, depth + 1);
    }
    if (inline.type === "note" && isElement(drawn.node)) this.#tools.footnotes.link(drawn.node, inline.label);
  }

  #nodeOf(inline: Inline): ChildNode {
    const { document } = this.#tools;
    switch (inline.type) {
      case "text":
        return document.createTextNode(inline.text);
      case "code":
        return this.#element("code", "", inline.text);
      case "break":
        return document.createElement("br");
      case "link":
        return this.#link(inline.href, inline.title);
      case "image":
        return this.#image(inline);
      case "note":
        return this.#element("sup", "md-note", inline.label);
      case "formula":
        return this.#element("code", inline.isDisplay ? "md-tex md-display" : "md-tex", inline.tex);
      default:
        return document.createElement(inline.type);
    }
  }

  #element(name: "code" | "span" | "sup", className: string, text: string): HTMLElement {
    const element = this.#tools.document.createElement(name);
    if (className !== "") element.className = className;
    element.append(text);
    return element;
  }

  /** Other schemes, and addresses on this site, stay as text. */
  #link(href: string, title: string | null): HTMLElement {
    const link = this.#tools.document.createElement("a");
    if (!SAFE_LINK.test(href)) return link;
    link.setAttribute("href", href);
    if (title !== null && title !== "") link.setAttribute("title", title);
    link.setAttribute("target", "_blank");
    link.setAttribute("rel", "noopener noreferrer nofollow");
    return link;
  }

  /** An image that would be fetched, from wherever (a GET of this site may start a stream), is shown as its text. */
  #image({ src, title, text }: Inline & { type: "image" }): HTMLElement {
    if (!SAFE_IMAGE.test(src)) return this.#element("span", "md-image", text);
    const image = this.#tools.document.createElement("img");
    image.setAttribute("src", src);
    image.setAttribute("alt", text);
    if (title !== null && title !== "") image.setAttribute("title", title);
    return image;
  }
}

/** The marks of footnotes among what is drawn, in the order of the text. */
export function* notesIn(drawn: readonly Drawn[]): Generator<{ readonly label: string; readonly mark: Element }> {
  for (const { inline, node, inner } of drawn) {
    if (inline.type === "note" && isElement(node)) yield { label: inline.label, mark: node };
    yield* notesIn(inner);
  }
}

/** Whether the node of one can show the other, its text and what stands in it aside. */
function isAlike(old: Inline, next: Inline): boolean {
  switch (next.type) {
    case "link":
      return old.type === "link" && old.href === next.href && old.title === next.title;
    case "image":
      return old.type === "image" && old.src === next.src && old.title === next.title && old.text === next.text;
    case "note":
      return old.type === "note" && old.label === next.label;
    case "formula":
      return old.type === "formula" && old.tex === next.tex && old.isDisplay === next.isDisplay;
    default:
      return old.type === next.type;
  }
}

function flat(nodes: readonly Inline[]): Inline[] {
  return nodes.flatMap((node) => ("inner" in node ? flat(node.inner) : [node]));
}

function updateText(node: ChildNode, text: string): void {
  if (!isText(node) || node.data === text) return;
  const { data } = node;
  if (text.startsWith(data)) node.appendData(text.slice(data.length));
  else if (data.startsWith(text)) node.deleteData(text.length, data.length - text.length);
  else node.data = text;
}

function isText(node: ChildNode): node is Text {
  return node.nodeType === 3;
}

export function isElement(node: Node): node is HTMLElement {
  return node.nodeType === 1;
}
