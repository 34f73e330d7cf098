export type { Labels, MarkdownOptions, Schedule } from "./options.ts";
export { renderMarkdown } from "./render.ts";
export { safePrefix } from "./text/graphemes.ts";
export { MarkdownView } from "./view.ts";
