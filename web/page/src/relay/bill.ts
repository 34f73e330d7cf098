/** What a stream's JSON says of its cost. */

import { amountOf } from "../money.ts";
import type { AnswerBill } from "../store/types.ts";

type Fields = Readonly<Record<string, unknown>>;

/** Return the bill of a stream's record; null where it has none yet, or the relay knows of none. */
export function billOf(record: Fields): AnswerBill | null {
  const cost = fieldsOf(record.cost);
  if (cost === null) return null;
  return {
    usd: amountOf(cost.usd),
    isEstimated: cost.basis === "estimated",
    rule: typeof cost.rule === "string" ? cost.rule : null,
    promptTokens: countOf(cost.prompt_tokens),
    cachedTokens: countOf(cost.cached_tokens),
    completionTokens: countOf(cost.completion_tokens),
    generatedTokens: countOf(record.generated_tokens),
    deliveredTokens: countOf(record.delivered_tokens),
  };
}

function fieldsOf(value: unknown): Fields | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : null;
}

function countOf(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}
