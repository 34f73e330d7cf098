import type { JSX } from "preact";
import { isOpen } from "../store/types.ts";
import type { Answer } from "./answer.ts";
import { AnswerBody } from "./answer_body.tsx";
import { AnswerFoot } from "./answer_foot.tsx";
import type { Thread, Turn } from "./thread.ts";

export interface AnswerProps {
  readonly thread: Thread;
  readonly turn: Turn;
  readonly answer: Answer;
  /** The last one of the conversation can be asked for anew. */
  readonly isLast: boolean;
}

/** An answer: what was thought, what was said, how it ended. */
export function AnswerView(props: AnswerProps): JSX.Element {
  const { answer } = props;
  const status = answer.status.value;
  return (
    <article
      class="answer"
      aria-label="Answer"
      aria-busy={isOpen(status)}
      data-state={status.state}
      data-cause={"cause" in status ? status.cause : undefined}
      data-stream={answer.streamId}
    >
      <Reasoning answer={answer} />
      {answer.hasText.value ? <AnswerBody key={answer.epoch.value} answer={answer} /> : null}
      <AnswerFoot {...props} />
    </article>
  );
}

function Reasoning({ answer }: { answer: Answer }): JSX.Element | null {
  const text = answer.reasoning.value;
  if (text === "") return null;
  const isThinking = isOpen(answer.status.value) && !answer.hasText.value;
  return (
    <details class="reasoning">
      <summary>{isThinking ? "Reasoning…" : "Reasoning"}</summary>
      <div class="reasoning-text">{text}</div>
    </details>
  );
}
