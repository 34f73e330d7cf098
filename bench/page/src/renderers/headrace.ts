import { MarkdownView } from "@headrace/markdown";
import type { Renderer } from "../renderer.ts";

/** `@headrace/markdown` with its defaults: code is highlighted and math set, by modules that it loads when it meets some. */
export async function mount(root: HTMLElement): Promise<Renderer> {
  return new MarkdownView(root);
}
