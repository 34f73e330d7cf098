/** What the page reads of the relay's JSON: no more than it needs, and nothing taken on trust. */

import type { Facts } from "../store/types.ts";
import { billOf } from "./bill.ts";
import { originOf } from "./origin.ts";

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Return the headers that show `key`. */
export function keyHeaders(key: string | null): Record<string, string> {
  return key === null ? {} : { Authorization: `Bearer ${key}` };
}

/** Return the ids of `GET /v1/models`. */
export function modelsOf(body: unknown): string[] {
  const data = isObject(body) && Array.isArray(body.data) ? body.data : [];
  return data.flatMap((model: unknown) => (isObject(model) && typeof model.id === "string" ? [model.id] : []));
}

/** Return the message of OpenAI's error object. */
export function messageOf(body: unknown): string | null {
  const error = isObject(body) ? body.error : null;
  return isObject(error) && typeof error.message === "string" ? error.message : null;
}

/** Return the field that OpenAI's error object says is at fault. */
export function paramOf(body: unknown): string | null {
  const error = isObject(body) ? body.error : null;
  return isObject(error) && typeof error.param === "string" && error.param !== "" ? error.param : null;
}

/** Return the output tokens that an engine's or the relay's `usage` counts. */
export function tokensOf(usage: unknown): number | null {
  return isObject(usage) ? numberOf(usage.completion_tokens) : null;
}

/** Return what an answer cost in US dollars, where the engine's `usage` says so. */
export function costOf(usage: unknown): number | null {
  return isObject(usage) ? (numberOf(usage.cost) ?? numberOf(usage.total_cost)) : null;
}

/** Return the figures that a stream's record gives: times as the relay measured them. */
export function factsOf(record: Readonly<Record<string, unknown>>): Facts {
  const created = numberOf(record.created_at);
  const first = numberOf(record.first_content_at);
  const ended = numberOf(record.ended_at);
  const tokens = tokensOf(record.usage);
  const bill = billOf(record);
  const origin = originOf(record);
  const writing = first !== null && ended !== null ? ended - first : 0;
  return {
    tokens,
    ttftMs: created !== null && first !== null ? Math.max(0, first - created) * 1000 : null,
    tokensPerSecond: tokens !== null && tokens > 1 && writing > 0 ? (tokens - 1) / writing : null,
    cost: costOf(record.usage),
    ...(bill === null ? {} : { bill }),
    ...(origin === null ? {} : { origin }),
  };
}

export function numberOf(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}
