import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { formatRoute } from "../router.ts";
import { Icon } from "../shell/icons.tsx";
import { useServices } from "../shell/services.ts";
import { type Facts, isOpen } from "../store/types.ts";
import { hasStream, say, sharedWords } from "../words.ts";
import type { AnswerProps } from "./answer_view.tsx";
import { copyText } from "./clipboard.ts";
import { billLines, figuresOf, originLines } from "./figures.ts";

/** How the answer stands or ended, its figures, and what can be done about it. */
export function AnswerFoot(props: AnswerProps): JSX.Element {
  const { answer } = props;
  const status = answer.status.value;
  const facts = answer.facts.value;
  const isGrowing = isOpen(status);
  const shared = sharedWords(facts.origin?.source ?? null);
  return (
    <footer class="answer-foot">
      <p class="ending" data-tone={toneOf(status)}>
        {isGrowing ? <span class="busy-mark" aria-hidden="true" /> : null}
        <span>{say({ ...status, tokens: facts.tokens })}</span>
      </p>
      {isGrowing ? null : (
        <>
          <p class="figures">
            {figuresOf(facts).map((figure) => (
              <span key={figure}>{figure}</span>
            ))}
            {answer.model === null ? null : <span>{answer.model}</span>}
            {shared === null ? null : <span>{shared[0]}</span>}
            {hasStream(status) ? (
              <a href={formatRoute({ view: "streams", streamId: answer.streamId })}>View stream</a>
            ) : null}
          </p>
          <Details facts={facts} model={answer.model} />
          <Actions {...props} />
        </>
      )}
    </footer>
  );
}

/** Who answered, what it cost, and of what that is made up. */
function Details({ facts, model }: { facts: Facts; model: string | null }): JSX.Element | null {
  const { bill, origin } = facts;
  const lines = [...(origin ? originLines(origin, model) : []), ...(bill ? billLines(bill) : [])];
  if (lines.length === 0) return null;
  return (
    <details class="answer-bill">
      <summary>Details</summary>
      <dl>
        {lines.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

function Actions({ thread, turn, answer, isLast }: AnswerProps): JSX.Element {
  const { chat } = useServices();
  const status = answer.status.value;
  const isNewest = turn.answers.at(-1) === answer;
  const canResume = isNewest && status.state === "truncated" && status.canResume;
  return (
    <div class="actions">
      {canResume ? (
        <button type="button" class="action is-primary" onClick={() => chat.resume(answer)}>
          <Icon name="resume" />
          Resume
        </button>
      ) : null}
      {isLast && thread.growing.value === null ? (
        <button type="button" class="action" onClick={() => chat.retry(thread)}>
          <Icon name="retry" />
          Retry
        </button>
      ) : null}
      {answer.hasText.value ? <CopyButton text={() => answer.text} /> : null}
      {turn.answers.length > 1 ? <Versions thread={thread} turn={turn} answer={answer} isLast={isLast} /> : null}
    </div>
  );
}

function CopyButton({ text }: { text: () => string }): JSX.Element {
  const { notices } = useServices();
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    if (!(await copyText(text()))) {
      notices.show({ text: "This browser does not let the page copy" });
      return;
    }
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return (
    <button type="button" class="action" aria-label="Copy" onClick={copy}>
      <Icon name={isCopied ? "check" : "copy"} />
      {isCopied ? "Copied" : "Copy"}
    </button>
  );
}

/** Steps between the answers that Retry has made. */
function Versions({ thread, turn, answer }: AnswerProps): JSX.Element {
  const place = turn.answers.indexOf(answer);
  const step = (by: number) => {
    const other = turn.answers[place + by];
    if (other !== undefined) thread.show(other);
  };
  return (
    <div class="versions">
      <button type="button" class="action" aria-label="Earlier version" disabled={place === 0} onClick={() => step(-1)}>
        <Icon name="back" />
      </button>
      <span>
        <span class="visually-hidden">Version </span>
        {place + 1} of {turn.answers.length}
      </span>
      <button
        type="button"
        class="action"
        aria-label="Later version"
        disabled={place === turn.answers.length - 1}
        onClick={() => step(1)}
      >
        <Icon name="forth" />
      </button>
    </div>
  );
}

function toneOf({ state }: { state: string }): string {
  if (state === "failed") return "bad";
  return state === "truncated" || state === "reconnecting" ? "warn" : "plain";
}
