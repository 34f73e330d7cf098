import type { MarkdownOptions } from "./options.ts";
import { MarkdownView } from "./view.ts";

/** Draw a text at once. The DOM is what a view has drawn of it after its end; `cut` as there. */
export function renderMarkdown(
  root: HTMLElement,
  text: string,
  { cut = false, ...options }: MarkdownOptions & { readonly cut?: boolean } = {},
): void {
  const view = new MarkdownView(root, options);
  view.write(text);
  view.end({ cut });
  view.flush();
}
