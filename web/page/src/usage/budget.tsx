import type { JSX } from "preact";
import { formatLimit, formatMoney } from "../money.ts";
import type { Caller, DayAndMonth } from "../relay/caller.ts";

const SPANS: readonly (readonly [span: keyof DayAndMonth, words: string])[] = [
  ["day", "today"],
  ["month", "this month"],
];

/** How much of the reader's own budget is spent; nothing without one. */
export function OwnBudget({ caller }: { caller: Caller | null }): JSX.Element | null {
  const spans = SPANS.flatMap(([span, words]) => {
    const limit = caller?.budget[span] ?? null;
    return limit === null ? [] : [{ span, words, limit, spent: caller?.spent[span] ?? 0 }];
  });
  if (spans.length === 0) return null;
  return (
    <section class="usage-budget" aria-label="Your budget">
      {spans.map(({ span, words, limit, spent }) => (
        <div key={span} data-used={spent >= limit ? "up" : undefined}>
          <p id={`budget-${span}`}>
            <strong>{formatMoney(spent)}</strong> of {formatLimit(limit)} {words}
            {spent >= limit ? <span class="usage-used-up"> The budget is used up.</span> : null}
          </p>
          <progress aria-labelledby={`budget-${span}`} max={limit || 1} value={Math.min(spent, limit || 1)} />
        </div>
      ))}
    </section>
  );
}
