// Makes a page believe that nobody sees it. Headless Chromium shows all of its tabs at once, whichever is in front, so
// this stands in for what a browser does to a tab in the background: the document says so, and no frame is drawn.
// Runs before the page's own scripts.

(() => {
  let isHidden = true;
  const nativeFrame = window.requestAnimationFrame.bind(window);
  const nativeCancel = window.cancelAnimationFrame.bind(window);
  const waiting = new Map();
  let last = 0;

  Object.defineProperty(Document.prototype, "hidden", { get: () => isHidden });
  Object.defineProperty(Document.prototype, "visibilityState", { get: () => (isHidden ? "hidden" : "visible") });

  window.requestAnimationFrame = (callback) => {
    if (!isHidden) return nativeFrame(callback);
    last -= 1;
    waiting.set(last, callback);
    return last;
  };
  window.cancelAnimationFrame = (handle) => {
    if (!waiting.delete(handle)) nativeCancel(handle);
  };
  window.setHidden = (hidden) => {
    isHidden = hidden;
    document.dispatchEvent(new Event("visibilitychange"));
    if (hidden) return;
    for (const callback of waiting.values()) nativeFrame(callback);
    waiting.clear();
  };
})();
