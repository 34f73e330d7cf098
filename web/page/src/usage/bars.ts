/** A report as bars: what they measure, which there are, and where they stand, in pixels. */

import { formatMoney } from "../money.ts";
import { formatShortCount } from "../streams/format.ts";
import type { Line } from "./report.ts";

/** What bars are as long as: money where any was spent, else the tokens of answers. */
export type Measure = "cost" | "completion";

export interface Bar {
  readonly label: string;
  readonly reported: number;
  readonly estimated: number;
}

/** Most groups with a bar of their own. */
export const MAX_GROUPS = 8;

export function measureOf(total: Line): Measure {
  return total.cost > 0 ? "cost" : "completion";
}

export function formatMeasure(measure: Measure, value: number): string {
  return measure === "cost" ? formatMoney(value) : formatShortCount(value);
}

/** Return a bar for every day, those without usage included. */
export function dayBars(lines: readonly Line[], days: readonly string[], measure: Measure): Bar[] {
  const byDay = new Map(lines.map((line) => [line.group, line]));
  return days.map((day) => {
    const line = byDay.get(day);
    return line === undefined ? { label: day, reported: 0, estimated: 0 } : barOf(line, day, measure);
  });
}

/** Return a bar for each of the largest groups, and one for all others together. */
export function groupBars(lines: readonly Line[], nameOf: (group: string) => string, measure: Measure): Bar[] {
  const bars = largestFirst(lines, measure).map((line) => barOf(line, nameOf(line.group), measure));
  if (bars.length <= MAX_GROUPS) return bars;
  const rest = bars.slice(MAX_GROUPS - 1);
  const sum = (part: "reported" | "estimated") => rest.reduce((all, bar) => all + bar[part], 0);
  const others = { label: `${rest.length} others`, reported: sum("reported"), estimated: sum("estimated") };
  return [...bars.slice(0, MAX_GROUPS - 1), others];
}

/** Return lines by what they measure, the largest first. */
export function largestFirst(lines: readonly Line[], measure: Measure): Line[] {
  return [...lines].sort((a, b) => b[measure] - a[measure] || a.group.localeCompare(b.group));
}

export function sizeOf({ reported, estimated }: Bar): number {
  return reported + estimated;
}

/** Return the least of 1, 2, 5, 10 times a power of ten that is not below `value`: the top of a scale. */
export function topOf(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return (([1, 2, 5] as const).find((factor) => factor * power >= value * (1 - 1e-9)) ?? 10) * power;
}

/** Return where each of `count` columns stands on an axis of this width. */
export function columnsOf(count: number, width: number): { readonly x: number; readonly wide: number }[] {
  const room = width / Math.max(1, count);
  const wide = Math.max(1, Math.min(28, room * 0.7));
  return Array.from({ length: count }, (_, index) => ({ x: index * room + (room - wide) / 2, wide }));
}

function barOf(line: Line, label: string, measure: Measure): Bar {
  return { label, reported: line.reported[measure], estimated: line.estimated[measure] };
}
