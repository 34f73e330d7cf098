/** A transcript as it is. */

import { useEffect, useRef } from "preact/hooks";
import { useEnvironment } from "./environment.ts";
import { TextBox } from "./text_box.ts";
import type { Transcript } from "./transcript.ts";

export function PlainText({ transcript, label }: { transcript: Transcript; label: string }) {
  const { nextFrame } = useEnvironment();
  const root = useRef<HTMLElement>(null);
  useEffect(() => {
    if (root.current === null) {
      return undefined;
    }
    // Text goes past the virtual DOM, which would compare all of it at each token.
    const box = new TextBox(root.current, transcript, nextFrame);
    return () => box.close();
  }, [transcript, nextFrame]);
  // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keyboard (WCAG 2.1.1).
  return <section class="streams-text" ref={root} tabIndex={0} aria-label={label} />;
}
