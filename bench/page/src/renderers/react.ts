import { createElement, type ReactNode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import type { Renderer } from "../renderer.ts";

/** What the page knows of the answer. */
export interface Answer {
  text: string;
  isStreaming: boolean;
}

/** Returns a renderer that sets the whole text so far as the state of a component, which `view` shows. */
export function mountReact(root: HTMLElement, view: (answer: Answer) => ReactNode): Promise<Renderer> {
  return new Promise((resolve) => {
    let text = "";
    const ready = (setAnswer: (answer: Answer) => void) =>
      resolve({
        write(delta) {
          text += delta;
          setAnswer({ text, isStreaming: true });
        },
        end: () => setAnswer({ text, isStreaming: false }),
      });
    createRoot(root).render(createElement(Message, { view, ready }));
  });
}

interface MessageProps {
  view: (answer: Answer) => ReactNode;
  ready: (setAnswer: (answer: Answer) => void) => void;
}

function Message({ view, ready }: MessageProps): ReactNode {
  const [answer, setAnswer] = useState<Answer>({ text: "", isStreaming: true });
  useEffect(() => ready(setAnswer), [ready]);
  return view(answer);
}
