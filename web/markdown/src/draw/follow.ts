/**
 * Follow links between a text and its footnotes by script: the page may route by its address's hash, which they would change.
 *
 * Returns how to stop.
 */
export function followFootnotes(root: HTMLElement): () => void {
  const onClick = (event: Event) => {
    const target = event.target;
    if (target === null || !("closest" in target) || typeof target.closest !== "function") return;
    const link: Element | null = target.closest('a[href^="#"]');
    if (link === null || !root.contains(link)) return;
    event.preventDefault();
    const id = link.getAttribute("href")?.slice(1) ?? "";
    const found: HTMLElement | null = root.querySelector(`[id="${id}"]`);
    found?.scrollIntoView({ block: "nearest" });
    found?.focus({ preventScroll: true });
  };
  root.addEventListener("click", onClick);
  return () => root.removeEventListener("click", onClick);
}
