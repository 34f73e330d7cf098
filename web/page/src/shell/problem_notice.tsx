import type { JSX } from "preact";
import type { Problem } from "../relay/problem.ts";

const TITLES: Readonly<Record<Problem["kind"], string>> = {
  unreachable: "The relay does not answer",
  not_found: "This relay has nothing of that kind",
  unauthorized: "The relay asks for an API key",
  forbidden: "Your key may not do this",
  refused: "The relay could not do that",
};

const HELP: Readonly<Record<Problem["kind"], string>> = {
  unreachable: "It may be restarting, or this device may be offline.",
  not_found: "It may be older than this page.",
  unauthorized: "Once you have entered one, this page goes on by itself.",
  forbidden: "It is the key of a member. Ask an admin of this relay.",
  refused: "",
};

interface ProblemNoticeProps {
  readonly problem: Problem;
  onRetry(): void;
  /** The reader wants to enter a key. */
  onKey(): void;
}

/** Says why there is nothing to show, and what helps. */
export function ProblemNotice({ problem, onRetry, onKey }: ProblemNoticeProps): JSX.Element {
  const { kind, message } = problem;
  return (
    <div class="notice" role="alert">
      <p class="notice-title">{TITLES[kind]}</p>
      <p>{HELP[kind] || message}</p>
      <p class="notice-acts">
        {kind === "unauthorized" ? (
          <button type="button" class="button is-primary" onClick={onKey}>
            Enter a key
          </button>
        ) : null}
        {kind === "forbidden" ? null : (
          <button type="button" class="button" onClick={onRetry}>
            Try again
          </button>
        )}
      </p>
    </div>
  );
}
