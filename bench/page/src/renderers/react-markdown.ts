import { createElement } from "react";
import Markdown from "react-markdown";
import remarkGfm from "remark-gfm";
import type { Renderer } from "../renderer.ts";
import { mountReact } from "./react.ts";

const PLUGINS = [remarkGfm];

/** react-markdown as its README uses it, with GitHub's Markdown; it highlights no code and knows no math. */
export function mount(root: HTMLElement): Promise<Renderer> {
  return mountReact(root, ({ text }) => createElement(Markdown, { remarkPlugins: PLUGINS }, text));
}
