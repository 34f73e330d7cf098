/** What draws answers, in a piece of its own: more than half of the page's code, and nothing needs it before an answer. */

import "@headrace/markdown/style.css";
import "../styles/markdown.css";

export { MarkdownView, renderMarkdown } from "@headrace/markdown";
