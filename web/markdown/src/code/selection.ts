/**
 * Knows where the selection of a document is. Asking for it while drawing would make the browser lay the page out, so it is
 * asked when it changes. It listens as long as the document is there.
 */
export class SelectionWatch {
  #anchor: Node | null = null;
  #focus: Node | null = null;

  constructor(document: Document) {
    document.addEventListener("selectionchange", () => {
      const selection = document.getSelection();
      this.#anchor = selection?.anchorNode ?? null;
      this.#focus = selection?.focusNode ?? null;
    });
  }

  /** Whether it begins or ends in an element. */
  reaches(element: Element): boolean {
    return element.contains(this.#anchor) || element.contains(this.#focus);
  }
}

/** Replace the nodes of an element whose text stays the same, and put a selection in it back where it was. */
export function keepSelection(element: HTMLElement, replace: () => void): void {
  const selection = element.ownerDocument.getSelection();
  if (selection === null || selection.rangeCount === 0) {
    replace();
    return;
  }
  const { anchorNode, focusNode } = selection;
  const anchor = offsetIn(element, anchorNode, selection.anchorOffset);
  const focus = offsetIn(element, focusNode, selection.focusOffset);
  replace();
  if (anchor === null && focus === null) return;
  const from = anchor === null ? { node: anchorNode, offset: selection.anchorOffset } : pointAt(element, anchor);
  const to = focus === null ? { node: focusNode, offset: selection.focusOffset } : pointAt(element, focus);
  if (from.node !== null && to.node !== null) selection.setBaseAndExtent(from.node, from.offset, to.node, to.offset);
}

/** How many units of the element's text stand before a point in it; null if the point is outside. */
function offsetIn(element: HTMLElement, node: Node | null, offset: number): number | null {
  if (node === null || !element.contains(node)) return null;
  const before = element.ownerDocument.createRange();
  before.setStart(element, 0);
  before.setEnd(node, offset);
  return before.toString().length;
}

function pointAt(element: HTMLElement, offset: number): { node: Node | null; offset: number } {
  const texts = element.ownerDocument.createTreeWalker(element, 4 /* NodeFilter.SHOW_TEXT */);
  let left = offset;
  for (let text = texts.nextNode(); text !== null; text = texts.nextNode()) {
    const length = text.nodeValue?.length ?? 0;
    if (left <= length) return { node: text, offset: left };
    left -= length;
  }
  return { node: element, offset: element.childNodes.length };
}
