// What the test in test_markdown.py drives: views, and what the browser says against them.
import { MarkdownView, renderMarkdown } from "@headrace/markdown";
import "@headrace/markdown/style.css";

window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`);
});
window.rejections = [];
window.addEventListener("unhandledrejection", (event) => window.rejections.push(String(event.reason)));
window.faults = [];

const frame = () => new Promise((done) => requestAnimationFrame(() => done()));
const options = { idPrefix: "t", onError: (error) => window.faults.push(String(error)) };
const fresh = (id) => {
  const old = document.getElementById(id);
  const root = old.cloneNode(false);
  old.replaceWith(root);
  return root;
};

/** Stream a text in pieces of some units, a frame each. */
window.streamText = async (text, units, id = "answer") => {
  const root = fresh(id);
  const view = new MarkdownView(root, options);
  for (let at = 0; at < text.length; at += units) {
    view.write(text.slice(at, at + units));
    await frame();
  }
  view.end();
  await view.whenSettled();
  return root.innerHTML;
};
window.drawText = (text, id = "second") => {
  const root = fresh(id);
  renderMarkdown(root, text, options);
  return root.innerHTML;
};
window.openView = (id = "answer") => {
  window.view = new MarkdownView(fresh(id), options);
};
window.ready = true;
