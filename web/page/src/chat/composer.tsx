import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Icon } from "../shell/icons.tsx";
import { useServices } from "../shell/services.ts";
import { isSend } from "./keys.ts";
import { fitHeight } from "./text_box.ts";
import type { Thread } from "./thread.ts";

/** The box to ask in. While an answer grows, its button stops it; what is typed meanwhile stays. */
export function Composer({ thread }: { thread: Thread }): JSX.Element {
  const box = useRef<HTMLTextAreaElement>(null);
  const draft = thread.draft.value;
  const { renderer } = useServices();
  const isGrowing = thread.growing.value !== null;
  const send = useSend(thread);
  useLayoutEffect(() => {
    if (box.current !== null) fitHeight(box.current);
  }, [draft]);
  useFocusAtOpening(box, thread);
  useFocusKept(box, isGrowing);
  const onKeyDown = (event: KeyboardEvent) => {
    if (!isSend(event)) return;
    event.preventDefault();
    send();
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div class="composer-box">
        <textarea
          ref={box}
          aria-label="Message"
          placeholder="Ask anything"
          rows={1}
          enterkeyhint="send"
          value={draft}
          onInput={(event) => {
            thread.draft.value = event.currentTarget.value;
            // Who types will soon read an answer.
            void renderer.want();
          }}
          onKeyDown={onKeyDown}
        />
        {isGrowing ? <StopButton thread={thread} /> : <SendButton isEmpty={draft.trim() === ""} />}
      </div>
    </form>
  );
}

function SendButton({ isEmpty }: { isEmpty: boolean }): JSX.Element {
  return (
    <button type="submit" key="send" class="round" aria-label="Send" title="Send (Enter)" disabled={isEmpty}>
      <Icon name="send" />
    </button>
  );
}

function StopButton({ thread }: { thread: Thread }): JSX.Element {
  const { chat } = useServices();
  return (
    <button
      type="button"
      key="stop"
      class="round is-stop"
      aria-label="Stop"
      title="Stop (Esc)"
      onClick={() => void chat.stop(thread)}
    >
      <Icon name="stop" />
    </button>
  );
}

function useSend(thread: Thread): () => void {
  const { chat, router } = useServices();
  return () => {
    const text = thread.draft.value.trim();
    if (text === "" || thread.growing.value !== null || !thread.isLoaded.value) return;
    thread.draft.value = "";
    chat.ask(thread, text);
    router.go({ view: "chat", conversationId: thread.id }, { replace: true });
  };
}

/** Ready to type where there is a keyboard; on a touch screen its keyboard would cover what is to be read. */
function useFocusAtOpening(box: { readonly current: HTMLTextAreaElement | null }, thread: Thread): void {
  useLayoutEffect(() => {
    if (!matchMedia("(pointer: coarse)").matches) box.current?.focus({ preventScroll: true });
  }, [box, thread]);
}

/** Send and Stop, Retry and Resume go when they are pressed; whoever pressed them by keyboard goes on in the text box. */
function useFocusKept(box: { readonly current: HTMLTextAreaElement | null }, isGrowing: boolean): void {
  useLayoutEffect(() => {
    const isLost = document.activeElement === null || document.activeElement === document.body;
    if (isLost && !matchMedia("(pointer: coarse)").matches) box.current?.focus({ preventScroll: true });
  }, [box, isGrowing]);
}
