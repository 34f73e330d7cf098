/** Flushes as bars: one each while there is room, else one for each column of pixels. */

import type { Plot } from "./plot.ts";

/** Width of a column, in pixels. */
export const COLUMN_PX = 2;

const WIDEST_BAR_PX = 8;

/** One or more successive flushes, drawn as one bar. */
export interface Bar {
  /** Left edge, in pixels from the accepted mark. */
  readonly x: number;
  /** Where its time is, likewise; what a pointer is compared with. */
  readonly centre: number;
  readonly width: number;
  /** Entries in them together: the height. */
  readonly entries: number;
  /** Indices of its first and last flush. */
  readonly first: number;
  readonly last: number;
}

/**
 * Returns the bars of a plot, by time. Their number is bounded by the width, not by the number of flushes.
 *
 * @param plot What to draw.
 * @param width Of the time axis, in pixels.
 */
export function barsOf(plot: Plot, width: number): Bar[] {
  const columns = Math.max(1, Math.floor(width / COLUMN_PX));
  const room = (plot.stepS / plot.spanS) * width;
  const isCrowded = plot.flushes.length > columns || (plot.flushes.length > 1 && room < COLUMN_PX);
  return isCrowded ? binned(plot, width, columns) : single(plot, width, plot.flushes.length > 1 ? room : width);
}

/** Returns the index of the bar nearest to a place, -1 without bars. */
export function nearestBar(bars: readonly Bar[], x: number): number {
  let low = 0;
  let high = bars.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((bars[middle]?.centre ?? 0) < x) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  const [before, here] = [bars[low - 1], bars[low]];
  const isBeforeNearer = before !== undefined && here !== undefined && x - before.centre < here.centre - x;
  return isBeforeNearer ? low - 1 : high;
}

/** Returns the index of the bar that holds a flush, -1 when none does. */
export function barOfFlush(bars: readonly Bar[], flush: number): number {
  return bars.findIndex((bar) => bar.first <= flush && flush <= bar.last);
}

function single(plot: Plot, width: number, room: number): Bar[] {
  const wide = Math.min(WIDEST_BAR_PX, room * 0.7);
  return plot.flushes.map((flush, index) => {
    const centre = ((plot.times[index] ?? 0) / plot.spanS) * width;
    return { x: inside(centre, wide, width), centre, width: wide, entries: flush.entries, first: index, last: index };
  });
}

function binned(plot: Plot, width: number, columns: number): Bar[] {
  const bars: Bar[] = [];
  const columnWidth = width / columns;
  let column = -1;
  for (const [index, flush] of plot.flushes.entries()) {
    const here = Math.min(columns - 1, Math.floor(((plot.times[index] ?? 0) / plot.spanS) * columns));
    const open = bars.at(-1);
    if (open !== undefined && here === column) {
      bars[bars.length - 1] = { ...open, entries: open.entries + flush.entries, last: index };
    } else {
      const x = here * columnWidth;
      bars.push({
        x,
        centre: x + columnWidth / 2,
        width: columnWidth,
        entries: flush.entries,
        first: index,
        last: index,
      });
      column = here;
    }
  }
  return bars;
}

function inside(centre: number, wide: number, width: number): number {
  return Math.min(Math.max(0, centre - wide / 2), Math.max(0, width - wide));
}
