/** Numbers of a report in words: what engines reported and what the relay estimated are told apart. */

import { formatMoney, NO_PRICE } from "../money.ts";
import { formatCount, formatCounted } from "../streams/format.ts";
import type { Line, Sum } from "./report.ts";

/** A number, and what has to be known of it. */
export interface Told {
  readonly main: string;
  readonly note: string | null;
}

export type Counted = Exclude<keyof Sum, "cost">;

/** Return a count with its estimated part: "1,204", with "312 estimated" where that is a part or all of it. */
export function countTold(line: Line, name: Counted): Told {
  return { main: formatCount(line[name]), note: noteOf(line[name], line.estimated[name], formatCount) };
}

/** Return what a line cost. */
export function costTold(line: Line): Told {
  const { cost, estimated, unpriced, requests } = line;
  if (unpriced > 0 && unpriced >= requests) return { main: NO_PRICE, note: null };
  const notes = [noteOf(cost, estimated.cost, formatMoney), unpricedOf(unpriced)].filter((note) => note !== null);
  return { main: formatMoney(cost), note: notes.join(", ") || null };
}

function noteOf(all: number, estimated: number, format: (value: number) => string): string | null {
  if (estimated <= 0) return null;
  return estimated >= all ? "estimated" : `${format(estimated)} estimated`;
}

function unpricedOf(requests: number): string | null {
  return requests === 0 ? null : `without ${formatCounted(requests, "request", "requests")} of no known price`;
}
