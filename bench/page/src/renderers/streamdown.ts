import { createElement } from "react";
import { Streamdown } from "streamdown";
import type { Renderer } from "../renderer.ts";
import { mountReact } from "./react.ts";

/** streamdown's core, told while text comes. Without `animated`, which wraps every word, and without plugins: no highlighting, no math. */
export function mount(root: HTMLElement): Promise<Renderer> {
  return mountReact(root, ({ text, isStreaming }) => createElement(Streamdown, { isAnimating: isStreaming }, text));
}
