import type { Renderer } from "../renderer.ts";

/**
 * No renderer: the text as it is, each line a block of its own. What is left is the cost of delivery and of drawing text.
 *
 * A single growing text node would cost more: the browser goes over all of it whenever it grows.
 */
export async function mount(root: HTMLElement): Promise<Renderer> {
  let line = root.appendChild(document.createElement("div"));
  return {
    write(delta) {
      const [first = "", ...rest] = delta.split("\n");
      line.append(first);
      for (const text of rest) {
        line = root.appendChild(document.createElement("div"));
        line.append(text);
      }
    },
    end: () => undefined,
  };
}
