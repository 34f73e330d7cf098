/** Usage as `GET /v1/usage` tells it. */

import { amountOf } from "../money.ts";
import { isObject, numberOf } from "../relay/json.ts";

/** Requests with their tokens and money. */
export interface Sum {
  readonly requests: number;
  readonly prompt: number;
  /** Those of the prompts that engines had in a cache. */
  readonly cached: number;
  readonly completion: number;
  /** US dollars. */
  readonly cost: number;
}

export interface Line extends Sum {
  /** The value of what was grouped by; "" for requests without one. */
  readonly group: string;
  readonly delivered: number;
  /** The part that engines counted, and the part that the relay did. */
  readonly reported: Sum;
  readonly estimated: Sum;
  /** Requests of models without a known price: they count nothing in `cost`. */
  readonly unpriced: number;
}

export interface Report {
  readonly lines: readonly Line[];
  /** Its group is "". */
  readonly total: Line;
  /** There are more groups than these. */
  readonly hasMore: boolean;
}

type Fields = Readonly<Record<string, unknown>>;

/** Most groups that are shown; a CSV file holds more. */
export const MAX_LINES = 1000;

/** Return a report; what is missing counts as nothing. Null for what is none at all. */
export function readReport(body: unknown): Report | null {
  if (!isObject(body) || !Array.isArray(body.data)) return null;
  const lines = body.data.slice(0, MAX_LINES).filter(isObject).map(readLine);
  const hasMore = body.has_more === true || body.data.length > MAX_LINES;
  return { lines, total: readLine(isObject(body.total) ? body.total : {}), hasMore };
}

function readLine(fields: Fields): Line {
  const [group] = isObject(fields.group) ? Object.values(fields.group) : [];
  return {
    ...readSum(fields),
    group: typeof group === "string" ? group : "",
    delivered: countOf(fields.delivered_tokens),
    reported: readSum(fields.reported),
    estimated: readSum(fields.estimated),
    unpriced: countOf(fields.unpriced_requests),
  };
}

function readSum(value: unknown): Sum {
  const fields = isObject(value) ? value : {};
  return {
    requests: countOf(fields.requests),
    prompt: countOf(fields.prompt_tokens),
    cached: countOf(fields.cached_tokens),
    completion: countOf(fields.completion_tokens),
    cost: amountOf(fields.cost_usd) ?? 0,
  };
}

function countOf(value: unknown): number {
  return numberOf(value) ?? 0;
}
