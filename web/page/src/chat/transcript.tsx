import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon } from "../shell/icons.tsx";
import { AnswerView } from "./answer_view.tsx";
import { QuestionView } from "./question_view.tsx";
import { Follow } from "./scroll.ts";
import type { Thread } from "./thread.ts";

/** What was said, growing at its end; it stays where the reader is. */
export function Transcript({ thread }: { thread: Thread }): JSX.Element {
  const scroller = useRef<HTMLElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const follow = useFollow(scroller, content);
  const turns = thread.turns.value;
  const lastQuestion = turns.at(-1)?.question.id;
  // A question was asked, or the conversation was opened: its end is what there is to see.
  useLayoutEffect(() => follow?.jump(), [follow, lastQuestion]);
  return (
    <div class="transcript-frame">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard. */}
      <section class="transcript" aria-label="Conversation" ref={scroller} tabIndex={0}>
        <div class="transcript-content" ref={content}>
          {turns.map((turn, index) => {
            const answer = thread.shownOf(turn);
            return (
              <div class="turn" key={turn.question.id}>
                <QuestionView thread={thread} turn={turn} index={index} />
                {answer === null ? null : (
                  <AnswerView
                    key={answer.id}
                    thread={thread}
                    turn={turn}
                    answer={answer}
                    isLast={index === turns.length - 1}
                  />
                )}
              </div>
            );
          })}
        </div>
      </section>
      {follow === null || follow.isFollowing.value ? null : (
        <button type="button" class="jump" onClick={() => follow.jump()}>
          <Icon name="down" />
          Jump to latest
        </button>
      )}
    </div>
  );
}

type Ref<Target> = { readonly current: Target | null };

function useFollow(scroller: Ref<HTMLElement>, content: Ref<HTMLElement>): Follow | null {
  const [follow, setFollow] = useState<Follow | null>(null);
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null || content.current === null) return;
    const made = new Follow(element, () => holdsSelection(element));
    const onScroll = () => made.scrolled();
    const observer = new ResizeObserver(() => made.resized());
    element.addEventListener("scroll", onScroll, { passive: true });
    observer.observe(element);
    observer.observe(content.current);
    setFollow(made);
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", onScroll);
    };
  }, [scroller, content]);
  return follow;
}

/** Whether the reader has text selected in `element`. */
function holdsSelection(element: HTMLElement): boolean {
  const selection = element.ownerDocument.getSelection();
  return selection !== null && !selection.isCollapsed && element.contains(selection.anchorNode);
}
