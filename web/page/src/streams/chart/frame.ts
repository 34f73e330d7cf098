/** Where things stand in the picture, in pixels. */

import { formatDuration, formatTick } from "../format.ts";
import type { StreamState } from "../stream.ts";
import { stateWord } from "../wording.ts";
import { roundTop, ticks, timeStep } from "./axis.ts";
import { type Bar, barsOf } from "./bars.ts";
import { CHARACTER_PX, type Label, type PlacedLabel, placeLabels } from "./labels.ts";
import type { Plot } from "./plot.ts";

export const LABEL_ROWS = 2;
export const LABEL_ROW_PX = 17;
export const PLOT_PX = 168;

/** Edges of the plot inside the picture. */
export const TOP_PX = LABEL_ROWS * LABEL_ROW_PX + 4;
export const BOTTOM_PX = TOP_PX + PLOT_PX;
export const HEIGHT_PX = BOTTOM_PX + 26;
export const LEFT_PX = 40;
export const RIGHT_PX = 48;

/** Least room between two labels of the time axis. */
const TICK_ROOM_PX = 84;

/** Most of the width that a label may take. */
const LONGEST_LABEL = 0.5;

/** How a stream stands: its state, and why it ended. */
export interface Standing {
  readonly state: StreamState;
  readonly words: string | null;
}

export interface Frame {
  readonly bars: readonly Bar[];
  /** Whether a bar may stand for more than one flush. */
  readonly isBinned: boolean;
  /** Entries of the highest bar that fits. */
  readonly barTop: number;
  /** Entries at the upper end of the line's scale. */
  readonly lineTop: number;
  readonly labels: readonly PlacedLabel[];
  readonly ticks: readonly { readonly x: number; readonly text: string }[];
  /** SVG path of the entries so far. */
  readonly line: string;
  /** SVG path of all bars. */
  readonly shape: string;
}

/**
 * Returns where everything goes.
 *
 * @param plot What to draw.
 * @param end How the stream stands, and why it ended in plain words; null: the state says it all.
 * @param width Of the time axis, in pixels.
 */
export function frameOf(plot: Plot, end: Standing, width: number): Frame {
  const bars = barsOf(plot, width);
  const barTop = roundTop(Math.max(1, ...bars.map((bar) => bar.entries)));
  const lineTop = roundTop(plot.totals.at(-1) ?? 1);
  const step = timeStep(plot.spanS, Math.max(1, Math.floor(width / TICK_ROOM_PX)));
  return {
    bars,
    isBinned: bars.length < plot.flushes.length,
    barTop,
    lineTop,
    labels: placeLabels(labelsOf(plot, end, width), width, LABEL_ROWS),
    ticks: ticks(plot.spanS, step).map((time) => ({ x: atX(plot, time, width), text: formatTick(time, step) })),
    line: linePath(plot, bars, lineTop, width),
    shape: bars.map((bar) => barPath(bar, barTop)).join(""),
  };
}

/** Returns the pixels from the accepted mark to a time. */
export function atX(plot: Plot, timeS: number, width: number): number {
  return (timeS / plot.spanS) * width;
}

/** Returns the outline of one bar. */
export function barPath(bar: Bar, top: number): string {
  const high = Math.max(1.5, (bar.entries / top) * PLOT_PX);
  return `M${round(bar.x)} ${BOTTOM_PX}v${round(-high)}h${round(bar.width)}v${round(high)}z`;
}

function linePath(plot: Plot, bars: readonly Bar[], top: number, width: number): string {
  const y = (total: number) => round(BOTTOM_PX - (total / top) * PLOT_PX);
  const steps = bars.map((bar) => `H${round(bar.centre)}V${y(plot.totals[bar.last] ?? 0)}`);
  return bars.length === 0 ? "" : `M0 ${BOTTOM_PX}${steps.join("")}H${round(width)}`;
}

function labelsOf(plot: Plot, end: Standing, width: number): Label[] {
  const labels: Label[] = plot.isOlder ? [{ key: "begin", text: "log begins", x: 0, rank: 3 }] : [];
  if (plot.acceptedS !== null) {
    labels.push({ key: "accepted", text: "accepted", x: atX(plot, plot.acceptedS, width), rank: 2 });
  }
  if (plot.firstTokenS !== null) {
    const text = `first token ${formatDuration(plot.firstTokenS)}`;
    labels.push({ key: "first", text, x: atX(plot, plot.firstTokenS, width), rank: 1 });
  }
  if (plot.endS !== null) {
    labels.push({ key: "end", text: endText(plot.endS, end, width), x: atX(plot, plot.endS, width), rank: 0 });
  }
  for (const [index, { engine, atS }] of plot.recovery.seams.entries()) {
    labels.push({ key: `seam${index}`, text: `${engine} goes on`, x: atX(plot, atS, width), rank: 1.5 });
  }
  for (const [index, { fromS, toS }] of plot.recovery.waits.entries()) {
    const text = `waited ${formatDuration(toS - fromS)}`;
    const rank = 3 - (toS - fromS) / plot.spanS;
    labels.push({ key: `wait${index}`, text, x: atX(plot, (fromS + toS) / 2, width), rank });
  }
  const longest = Math.max(...plot.gaps.map((gap) => gap.toS - gap.fromS), 0);
  for (const [index, gap] of plot.gaps.entries()) {
    const length = gap.toS - gap.fromS;
    const text = `gap ${formatDuration(length)}`;
    // Longer gaps come first, all of them behind the marks.
    labels.push({
      key: `gap${index}`,
      text,
      x: atX(plot, (gap.fromS + gap.toS) / 2, width),
      rank: 4 - length / longest,
    });
  }
  return labels;
}

/** Returns state, time and cause; without the cause where that would fill the row. */
function endText(endS: number, { state, words }: Standing, width: number): string {
  const short = `${stateWord(state).toLowerCase()} ${formatDuration(endS)}`;
  const long = `${short}: ${words?.charAt(0).toLowerCase()}${words?.slice(1)}`;
  return words === null || long.length * CHARACTER_PX > width * LONGEST_LABEL ? short : long;
}

function round(pixels: number): number {
  return Math.round(pixels * 100) / 100;
}
