/** How long an element must not change to count as finished. */
const QUIET_MS = 500;

/** Resolves when an element has not changed for a while, with the time (as `performance.now()`) of its last change, or of the call. */
export function whenQuiet(element: HTMLElement): Promise<number> {
  return new Promise((resolve) => {
    let lastMs = performance.now();
    const observer = new MutationObserver(() => {
      lastMs = performance.now();
    });
    observer.observe(element, { subtree: true, childList: true, characterData: true, attributes: true });
    const look = () => {
      const leftMs = lastMs + QUIET_MS - performance.now();
      if (leftMs > 0) return setTimeout(look, leftMs);
      observer.disconnect();
      return resolve(lastMs);
    };
    look();
  });
}
