import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "../shell/icons.tsx";
import { useServices } from "../shell/services.ts";
import { isComposing, isSend } from "./keys.ts";
import { fitHeight } from "./text_box.ts";
import type { Thread, Turn } from "./thread.ts";

interface QuestionProps {
  readonly thread: Thread;
  readonly turn: Turn;
  readonly index: number;
}

/** A question, and the editor to ask it in other words. */
export function QuestionView({ thread, turn, index }: QuestionProps): JSX.Element {
  const { chat, notices } = useServices();
  const [isEditing, setEditing] = useState(false);
  const edit = useRef<HTMLButtonElement>(null);
  const close = () => {
    setEditing(false);
    // The button is back after the next render.
    requestAnimationFrame(() => edit.current?.focus());
  };
  const askAgain = (text: string) => {
    const isCutting = index < thread.turns.value.length - 1;
    const undo = chat.edit(thread, index, text);
    notices.show({
      text: isCutting ? "Question replaced; what followed it was removed" : "Question replaced",
      undo: () => void undo(),
    });
  };
  return (
    <article class="question" aria-label="Question">
      {isEditing ? (
        <Editor text={turn.question.text} onDone={askAgain} onCancel={close} />
      ) : (
        <>
          <div class="question-text">{turn.question.text}</div>
          <div class="actions">
            <button type="button" class="action" ref={edit} onClick={() => setEditing(true)}>
              <Icon name="edit" />
              Edit
            </button>
          </div>
        </>
      )}
    </article>
  );
}

interface EditorProps {
  readonly text: string;
  onDone(text: string): void;
  onCancel(): void;
}

function Editor({ text, onDone, onCancel }: EditorProps): JSX.Element {
  const box = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    fitHeight(element);
    element.focus();
    element.setSelectionRange(element.value.length, element.value.length);
  }, []);
  const done = () => {
    const edited = box.current?.value.trim() ?? "";
    if (edited !== "") onDone(edited);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (isSend(event)) {
      event.preventDefault();
      done();
    } else if (event.key === "Escape" && !isComposing(event)) {
      event.preventDefault();
      onCancel();
    }
  };
  return (
    <div class="editor">
      <textarea
        ref={box}
        aria-label="Edit question"
        rows={1}
        defaultValue={text}
        onInput={(event) => fitHeight(event.currentTarget)}
        onKeyDown={onKeyDown}
      />
      <div class="editor-actions">
        <button type="button" class="button" onClick={onCancel}>
          Cancel
        </button>
        <button type="button" class="button is-primary" onClick={done}>
          Ask again
        </button>
      </div>
    </div>
  );
}
