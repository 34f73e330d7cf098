import type { JSX } from "preact";
import { useServices } from "../shell/services.ts";
import type { Thread } from "./thread.ts";

const SAMPLES: readonly { title: string; prompt: string }[] = [
  { title: "Explain something", prompt: "Why is the sky blue? Explain it in three short paragraphs." },
  { title: "Write some code", prompt: "Write a Python function that merges two sorted lists, with a short example." },
  { title: "Make a plan", prompt: "Plan a quiet weekend in the mountains as a list, one line for each half day." },
];

/** A conversation in which nothing was said: what this is, and three ways to begin. */
export function FirstVisit({ thread }: { thread: Thread }): JSX.Element {
  const { chat, router, library, renderer } = useServices();
  const isFirst = library.conversations.value.length === 0;
  const ask = (prompt: string) => {
    void renderer.want();
    chat.ask(thread, prompt);
    router.go({ view: "chat", conversationId: thread.id }, { replace: true });
  };
  return (
    <section class="transcript first-visit" aria-label="Conversation">
      <div class="first-visit-body">
        <h1>What would you like to ask?</h1>
        {isFirst ? (
          <p>
            Headrace stands between you and a language model. Stop an answer, and the model stops. Reload the page or
            lose the connection, and the answer goes on where it was. Every answer says how it ended. Conversations stay
            in this browser.
          </p>
        ) : null}
        <ul class="samples">
          {SAMPLES.map(({ title, prompt }) => (
            <li key={title}>
              <button type="button" onClick={() => ask(prompt)}>
                <span class="sample-title">{title}</span>
                <span class="sample-prompt">{prompt}</span>
              </button>
            </li>
          ))}
        </ul>
      </div>
    </section>
  );
}
