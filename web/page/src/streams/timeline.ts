/** A stream's log as `GET /v1/streams/{id}/timeline` tells of it: one flush a commit. */

import { listOf, numberOf, objectOf } from "./json.ts";

/** Most flushes kept of one stream: 40 minutes of the relay's shortest usual tick, and some 4 MB. */
export const MAX_FLUSHES = 50_000;

/** Entries that were committed together. */
export interface Flush {
  /** Offset of the first of them. */
  readonly offset: number;
  readonly entries: number;
  /** Bytes of their JSON. */
  readonly bytes: number;
  /** When they were committed, Unix seconds. */
  readonly at: number;
}

export interface TimelinePage {
  readonly flushes: readonly Flush[];
  readonly hasMore: boolean;
  /** Entries and bytes of the whole log; null when unknown. */
  readonly entries: number | null;
  readonly bytes: number | null;
}

/** All that is known of a log so far. */
export interface Timeline {
  /** By offset, without doubles. */
  readonly flushes: readonly Flush[];
  readonly entries: number | null;
  readonly bytes: number | null;
  /** There were more flushes than are kept. */
  readonly isCut: boolean;
}

export const EMPTY_TIMELINE: Timeline = { flushes: [], entries: null, bytes: null, isCut: false };

export function readTimelinePage(value: unknown): TimelinePage {
  const fields = objectOf(value);
  const flushes = listOf(fields?.flushes).map(readFlush);
  return {
    flushes: flushes.filter((flush) => flush !== null),
    hasMore: fields?.has_more === true,
    entries: numberOf(fields?.entries),
    bytes: numberOf(fields?.bytes),
  };
}

/** Returns the offset to ask behind: that of the newest flush; -1 from the start. */
export function lastOffset(timeline: Timeline): number {
  return timeline.flushes.at(-1)?.offset ?? -1;
}

/** Returns a timeline with what a page adds; the same flushes (by identity) when it adds none. */
export function extended(timeline: Timeline, page: TimelinePage, most: number = MAX_FLUSHES): Timeline {
  const fresh = later(page.flushes, lastOffset(timeline));
  const room = Math.max(0, most - timeline.flushes.length);
  return {
    flushes: fresh.length === 0 || room === 0 ? timeline.flushes : [...timeline.flushes, ...fresh.slice(0, room)],
    entries: page.entries ?? timeline.entries,
    bytes: page.bytes ?? timeline.bytes,
    isCut: timeline.isCut || fresh.length > room,
  };
}

/** Returns the flushes behind an offset, by offset, each once, and never back in time. */
function later(flushes: readonly Flush[], after: number): Flush[] {
  const sorted = [...flushes].sort((a, b) => a.offset - b.offset);
  let last = after;
  return sorted.filter((flush) => {
    const isNew = flush.offset > last;
    last = Math.max(last, flush.offset);
    return isNew;
  });
}

function readFlush(value: unknown): Flush | null {
  const fields = objectOf(value);
  const offset = numberOf(fields?.offset);
  const at = numberOf(fields?.at);
  if (offset === null || at === null) {
    return null;
  }
  return { offset, at, entries: numberOf(fields?.entries) ?? 0, bytes: numberOf(fields?.bytes) ?? 0 };
}
