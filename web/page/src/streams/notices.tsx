/** Loading, empty, error and offline: each says what it is and what helps. */

import type { ComponentChildren } from "preact";
import { formatAge } from "./format.ts";
import { useNow } from "./now.ts";
import type { Problem } from "./source.ts";

const TITLES: Readonly<Record<Problem["kind"], string>> = {
  unreachable: "The relay does not answer",
  not_found: "The relay has no such stream",
  unauthorized: "The relay wants an API key",
  forbidden: "Your key may not do this",
  refused: "The relay could not do that",
};

const HELP: Readonly<Record<Problem["kind"], string>> = {
  unreachable: "It may be restarting, or this device may be offline. This page goes on trying.",
  not_found: "It was erased, or it is older than the relay keeps streams.",
  unauthorized: "Once you have entered one, this page goes on by itself.",
  forbidden: "",
  refused: "",
};

/** Says what went wrong in place of what would stand here. */
export function ProblemNotice({ problem, onRetry, children }: NoticeProps) {
  return (
    <div class="streams-notice" role="alert">
      <p class="streams-notice-title">{TITLES[problem.kind]}</p>
      <p>{HELP[problem.kind] || problem.message}</p>
      <p class="streams-notice-acts">
        {onRetry !== undefined && (
          <button type="button" class="streams-button" onClick={onRetry}>
            Try again
          </button>
        )}
        {children}
      </p>
    </div>
  );
}

interface NoticeProps {
  problem: Problem;
  onRetry?: () => void;
  children?: ComponentChildren;
}

interface StaleProps {
  problem: Problem;
  /** When what is shown was true, Unix seconds. */
  heardAt: number;
  onRetry: () => void;
}

/** Says above what is shown that it may be out of date. */
export function StaleBanner({ problem, heardAt, onRetry }: StaleProps) {
  const ageS = useNow() - heardAt;
  return (
    <div class="streams-banner" role="alert">
      <span>
        {TITLES[problem.kind]}
        {problem.kind === "refused" && `: ${problem.message}`}
        {`. What you see was true ${formatAge(ageS)}.`}
      </span>
      <button type="button" class="streams-button" onClick={onRetry}>
        Try again
      </button>
    </div>
  );
}

export function Loading({ what }: { what: string }) {
  return (
    <div class="streams-loading" role="status">
      <p>Loading {what}…</p>
      <div class="streams-bone" />
      <div class="streams-bone" />
      <div class="streams-bone" />
    </div>
  );
}
