/** What is said of the flushes under the pointer or the keyboard's cursor. */

import { formatBytes, formatCount, formatCounted, formatDuration } from "../format.ts";
import type { Flush } from "../timeline.ts";
import type { Bar } from "./bars.ts";
import type { Plot } from "./plot.ts";

/** Facts of one bar, in words. */
export interface Readout {
  /** "Flush 3 of 120", or "Flushes 3 to 9 of 5,000". */
  readonly title: string;
  readonly facts: readonly (readonly [name: string, value: string])[];
}

/** Returns the facts of the flushes of a bar. */
export function readoutOf(plot: Plot, bar: Bar): Readout {
  const flushes = plot.flushes.slice(bar.first, bar.last + 1);
  const bytes = flushes.reduce((sum, flush) => sum + flush.bytes, 0);
  return {
    title: titleOf(bar, plot.flushes.length),
    facts: [
      ["Offsets", offsetsOf(flushes)],
      ["Entries", formatCount(bar.entries)],
      ["Bytes", formatBytes(bytes)],
      ["Time", timeOf(plot, bar)],
      ["Gap before", gapBefore(plot, bar.first)],
      ...seamsIn(plot, flushes),
    ],
  };
}

/** Returns the same as one sentence, for assistive tools. */
export function sentenceOf(readout: Readout): string {
  return `${readout.title}: ${readout.facts.map(([name, value]) => `${name.toLowerCase()} ${value}`).join(", ")}`;
}

/** Returns how long nothing was flushed before a flush; for the first: since the stream was accepted. */
export function gapBefore(plot: Plot, index: number): string {
  return formatDuration((plot.times[index] ?? 0) - (plot.times[index - 1] ?? 0));
}

/** Returns the offsets of successive flushes: "12", or "12 to 19". */
export function offsetsOf(flushes: readonly Flush[]): string {
  const [first, last] = [flushes[0], flushes.at(-1)];
  if (first === undefined || last === undefined) {
    return "none";
  }
  const end = Math.max(first.offset, last.offset + last.entries - 1);
  return end === first.offset ? formatCount(end) : `${formatCount(first.offset)} to ${formatCount(end)}`;
}

/** Returns the seams that lie in flushes. */
function seamsIn({ recovery }: Plot, flushes: readonly Flush[]): (readonly [name: string, value: string])[] {
  const [first, last] = [flushes[0], flushes.at(-1)];
  if (first === undefined || last === undefined) {
    return [];
  }
  return recovery.seams
    .filter(({ offset }) => offset >= first.offset && offset < last.offset + last.entries)
    .map(({ offset, words }) => [`Seam at ${formatCount(offset)}`, words]);
}

/** Returns one sentence about the whole log, for those who do not see the picture. */
export function summaryOf(plot: Plot): string {
  const entries = plot.totals.at(-1) ?? 0;
  const gaps = plot.gaps.length === 0 ? "no gaps" : formatCounted(plot.gaps.length, "gap", "gaps");
  const flushes = formatCounted(plot.flushes.length, "flush", "flushes");
  const { length } = plot.recovery.seams;
  const seams = length === 0 ? "" : `, ${formatCounted(length, "seam", "seams")}`;
  return `${flushes} with ${formatCounted(entries, "entry", "entries")} in ${formatDuration(plot.spanS)}, ${gaps}${seams}`;
}

function titleOf(bar: Bar, count: number): string {
  const of = `of ${formatCount(count)}`;
  return bar.first === bar.last
    ? `Flush ${formatCount(bar.first + 1)} ${of}`
    : `Flushes ${formatCount(bar.first + 1)} to ${formatCount(bar.last + 1)} ${of}`;
}

function timeOf(plot: Plot, bar: Bar): string {
  const [from, to] = [formatDuration(plot.times[bar.first] ?? 0), formatDuration(plot.times[bar.last] ?? 0)];
  return from === to ? `at ${from}` : `${from} to ${to}`;
}
