/** What is said of a key. */

import { formatLimit, formatMoney } from "../money.ts";
import type { DayAndMonth } from "../relay/caller.ts";
import { formatCount } from "../streams/format.ts";
import { goodSecrets, type Key, type KeyState, LIMIT_NAMES, type LimitName } from "./key.ts";

export const STATE_WORDS: Readonly<Record<KeyState, string>> = {
  active: "Active",
  rotating: "Rotating",
  expired: "Expired",
  revoked: "Revoked",
};

const LIMIT_WORDS: Readonly<Record<LimitName, string>> = {
  requests_per_minute: "requests a minute",
  tokens_per_minute: "tokens a minute",
  concurrent_streams: "streams at once",
  max_prompt_tokens: "tokens a prompt",
  max_output_tokens: "tokens an answer",
};

/** Return a key's limits, one a line: "60 requests a minute". */
export function limitLines({ limits }: Key): string[] {
  return LIMIT_NAMES.flatMap((name) => {
    const limit = limits[name];
    return limit === undefined ? [] : [`${formatCount(limit)} ${LIMIT_WORDS[name]}`];
  });
}

/** Return what was spent, of what may be: "$3.40 of $10 today", "$20.10 this month". */
export function spentLines({ spent, budget }: Key): string[] {
  const line = (span: keyof DayAndMonth, words: string) => {
    const limit = budget[span];
    return `${formatMoney(spent[span] ?? 0)}${limit === null ? "" : ` of ${formatLimit(limit)}`} ${words}`;
  };
  return [line("day", "today"), line("month", "this month")];
}

/** Return a moment as a date; with its time where that matters, for what is less than two days away. */
export function momentOf(unixS: number, nowS: number, locale?: string): string {
  const isNear = Math.abs(unixS - nowS) < 2 * 86_400;
  const style = isNear ? ({ dateStyle: "medium", timeStyle: "short" } as const) : ({ dateStyle: "medium" } as const);
  return new Date(unixS * 1000).toLocaleString(locale, style);
}

/** Return until when a key, or the old secret of one that is rotated, is good; null without an end. */
export function endOf(key: Key, state: KeyState, nowS: number): string | null {
  if (state === "revoked") return key.revokedAt === null ? null : `revoked ${momentOf(key.revokedAt, nowS)}`;
  const old = state === "rotating" ? goodSecrets(key, nowS).at(-1) : undefined;
  if (old?.expiresAt) return `${old.hint} good until ${momentOf(old.expiresAt, nowS)}`;
  if (key.expiresAt === null) return null;
  return `${state === "expired" ? "expired" : "expires"} ${momentOf(key.expiresAt, nowS)}`;
}

/** Return what a key is called: its name, else its id. */
export function titleOf({ name, id }: Key): string {
  return name === "" ? id : name;
}
