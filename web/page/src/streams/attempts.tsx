/** The tries that an answer took, where there was more than one. */

import { formatMoney, NO_PRICE } from "../money.ts";
import { type Attempt, waitBefore } from "./attempt.ts";
import { formatCount, formatCounted, formatDuration } from "./format.ts";
import type { Stream } from "./stream.ts";
import { attemptWords, kindWords, UNKNOWN } from "./wording.ts";

const COLUMNS = ["Attempt", "Engine", "Why", "Waited", "First token", "End", "Tokens", "Cost"] as const;

export function Attempts({ stream }: { stream: Stream }) {
  const { attempts, retryBudgetS } = stream;
  if (attempts.length < 2) {
    return null;
  }
  return (
    <section class="streams-section" aria-label="Attempts">
      <header class="streams-section-head">
        <h2>Attempts</h2>
        <p class="streams-note">
          {formatCounted(attempts.length, "try", "tries")}
          {retryBudgetS !== null && `; the first token was due within ${formatDuration(retryBudgetS)}, waits included`}
        </p>
      </header>
      <table class="streams-table streams-attempts">
        <thead>
          <tr>
            {COLUMNS.map((column) => (
              <th scope="col" key={column}>
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {attempts.map((attempt, index) => (
            <Row
              key={`${index}`}
              attempt={attempt}
              number={index + 1}
              wait={waitBefore(attempts, index)}
              model={stream.model}
            />
          ))}
        </tbody>
      </table>
    </section>
  );
}

interface RowProps {
  attempt: Attempt;
  /** From 1 on. */
  number: number;
  /** When nobody was asked before it. */
  wait: ReturnType<typeof waitBefore>;
  /** As the client calls it. */
  model: string | null;
}

function Row({ attempt, number, wait, model }: RowProps) {
  const { engine, firstContentAt, startedAt, status, message, endedAt } = attempt;
  const isToldTwice = status === null || message?.includes(`${status}`);
  const told = [isToldTwice ? null : `HTTP ${status}`, message].filter((part) => part !== null).join(": ");
  const other = attempt.model === model ? null : attempt.model;
  return (
    <tr>
      <th scope="row" class="streams-cell">
        <span class="streams-only-narrow">Attempt </span>
        {number}
      </th>
      <td class="streams-cell" data-label="Engine">
        {engine ?? UNKNOWN}
        {other !== null && <span class="streams-end">{other}</span>}
      </td>
      <td class="streams-cell" data-label="Why">
        {kindWords(attempt.kind)}
      </td>
      <td class="streams-cell streams-number" data-label="Waited">
        {waitWords(wait)}
      </td>
      <td class="streams-cell streams-number" data-label="First token">
        {firstContentAt === null ? "none" : formatDuration(Math.max(0, firstContentAt - startedAt))}
      </td>
      <td class="streams-cell streams-how" data-label="End">
        {attemptWords(attempt)}
        {endedAt !== null && ` after ${formatDuration(Math.max(0, endedAt - startedAt))}`}
        {told !== "" && <span class="streams-end">{told}</span>}
      </td>
      <td class="streams-cell streams-number" data-label="Tokens">
        {tokensWords(attempt)}
      </td>
      <td class="streams-cell streams-number" data-label="Cost">
        {endedAt === null ? "not yet" : attempt.usd === null ? NO_PRICE : formatMoney(attempt.usd)}
      </td>
    </tr>
  );
}

function waitWords(wait: ReturnType<typeof waitBefore>): string {
  const waitedS = wait === null ? 0 : wait.to - wait.from;
  return waitedS < 0.001 ? "none" : formatDuration(waitedS);
}

function tokensWords({ promptTokens, cachedTokens, completionTokens }: Attempt) {
  return (
    <>
      {formatCount(promptTokens)} in, {formatCount(completionTokens)} out
      {cachedTokens > 0 && <span class="streams-end">{formatCount(cachedTokens)} cached</span>}
    </>
  );
}
