/** Returns the text that an element shows: as laid out, line by line, without what is hidden. */
export function visibleText(element: HTMLElement): string {
  // biome-ignore lint/performance/useDomNodeTextContent: what is not rendered is not shown
  return element.innerText;
}
