/** Stretches of days. The relay charges by days and months of UTC, so these are UTC's too. */

export const PERIODS = [
  ["today", "Today"],
  ["week", "7 days"],
  ["month", "This month"],
  ["last_month", "Last month"],
  ["custom", "Other dates"],
] as const;

export type PeriodName = (typeof PERIODS)[number][0];

/** Days as `2026-11-21`. */
export interface Days {
  readonly first: string;
  readonly last: string;
}

/** Most days drawn or asked for one by one; the relay keeps usage for no longer unless it is told to. */
export const MAX_DAYS = 400;

const DAY_MS = 86_400_000;
const DAY = /^\d{4}-\d{2}-\d{2}$/;

/** Return the days of a period; `custom` are those of "custom". */
export function daysOf(period: PeriodName, custom: Days, nowMs: number): Days {
  const now = new Date(nowMs);
  const [year, month] = [now.getUTCFullYear(), now.getUTCMonth()];
  const today = dayOf(nowMs);
  switch (period) {
    case "today":
      return { first: today, last: today };
    case "week":
      return { first: dayOf(nowMs - 6 * DAY_MS), last: today };
    case "month":
      return { first: dayOf(Date.UTC(year, month, 1)), last: today };
    case "last_month":
      return { first: dayOf(Date.UTC(year, month - 1, 1)), last: dayOf(Date.UTC(year, month, 0)) };
    case "custom":
      return custom;
  }
}

/** Return why these are no days to ask for, in words; null when they are. */
export function faultOf({ first, last }: Days): string | null {
  const [from, to] = [startOf(first), startOf(last)];
  if (from === null || to === null) return "Choose the first and the last day.";
  if (from > to) return "The first day is after the last.";
  return (to - from) / DAY_MS >= MAX_DAYS ? `Choose at most ${MAX_DAYS} days.` : null;
}

/** Return the day behind the last one: where the relay's `until`, which is exclusive, stands. */
export function dayAfter(day: string): string {
  return dayOf((startOf(day) ?? 0) + DAY_MS);
}

/** Return every one of these days, at most `MAX_DAYS`. */
export function eachOf(days: Days): string[] {
  if (faultOf(days) !== null) return [];
  const [from, to] = [startOf(days.first) ?? 0, startOf(days.last) ?? 0];
  return Array.from({ length: (to - from) / DAY_MS + 1 }, (_, index) => dayOf(from + index * DAY_MS));
}

/** Return a file's name for these days: `usage-2026-11.csv` for days of one month from its first on, else with the days. */
export function fileNameOf(period: PeriodName, { first, last }: Days): string {
  if (period === "month" || period === "last_month") return `usage-${first.slice(0, 7)}.csv`;
  return first === last ? `usage-${first}.csv` : `usage-${first}-to-${last}.csv`;
}

/** Return these days as people write them: "Nov 1 – Nov 21, 2026". */
export function daysInWords({ first, last }: Days): string {
  const words = (day: string, withYear: boolean) =>
    new Date(startOf(day) ?? 0).toLocaleDateString("en-US", {
      timeZone: "UTC",
      month: "short",
      day: "numeric",
      ...(withYear ? { year: "numeric" } : {}),
    });
  if (first === last) return words(first, true);
  return `${words(first, first.slice(0, 4) !== last.slice(0, 4))} – ${words(last, true)}`;
}

/** Return the day, in UTC, of a wall clock in milliseconds. */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** Returns where a day begins; null for what is no day, such as a 30th of February. */
function startOf(day: string): number | null {
  const ms = DAY.test(day) ? Date.parse(`${day}T00:00:00Z`) : Number.NaN;
  return Number.isNaN(ms) || dayOf(ms) !== day ? null : ms;
}
