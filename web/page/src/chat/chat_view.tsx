import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { Banner } from "../shell/banner.tsx";
import { useServices } from "../shell/services.ts";
import { say } from "../words.ts";
import { Composer } from "./composer.tsx";
import { FirstVisit } from "./first_visit.tsx";
import { isComposing } from "./keys.ts";
import type { Thread } from "./thread.ts";
import { Transcript } from "./transcript.tsx";

/** One conversation: what was said, and the box to say more. */
export function ChatView({ conversationId }: { conversationId: string }): JSX.Element {
  const { chat } = useServices();
  const thread = chat.thread(conversationId);
  useStopOnEscape(thread);
  const isEmpty = thread.turns.value.length === 0;
  return (
    <div class="chat" key={thread.id}>
      <Banner />
      {isEmpty ? <Opening thread={thread} /> : <Transcript thread={thread} />}
      <Composer thread={thread} />
      <Status thread={thread} />
    </div>
  );
}

function Opening({ thread }: { thread: Thread }): JSX.Element {
  // What is kept is read within a frame or two; a spinner would only flash.
  return thread.isLoaded.value ? <FirstVisit thread={thread} /> : <div class="transcript" aria-busy="true" />;
}

/** Says how the last answer stands, to those who do not see it; never its text. */
function Status({ thread }: { thread: Thread }): JSX.Element {
  const latest = thread.latest.value;
  const words = latest === null ? "" : say({ ...latest.status.value, tokens: latest.facts.value.tokens });
  return (
    <div class="visually-hidden" role="status">
      {words}
    </div>
  );
}

function useStopOnEscape(thread: Thread): void {
  const { chat, panel, key } = useServices();
  useEffect(() => {
    const stop = (event: KeyboardEvent) => {
      // A dialog or an open editor takes Escape first.
      const isTaken = event.defaultPrevented || panel.value !== "none" || key.isWanted.value;
      if (event.key === "Escape" && !isTaken && !isComposing(event)) void chat.stop(thread);
    };
    document.addEventListener("keydown", stop);
    return () => document.removeEventListener("keydown", stop);
  }, [thread, chat, panel, key]);
}
