/** The list of streams that a reader has loaded, kept true by reading its newest part again and again. */

import type { Stream, StreamPage } from "./stream.ts";

/** Most rows in the list; to go further back, filter. */
export const MAX_ROWS = 500;

/** What is loaded: newest first, each id once. */
export interface Loaded {
  readonly streams: readonly Stream[];
  /** Whether the relay has older ones than the last. */
  readonly hasMore: boolean;
}

/**
 * Returns the list after its newest part was read again.
 *
 * What lies in the page's range and is not in it was erased, or no longer passes the filter. What is older is kept. When
 * the page does not reach what was loaded before (that many streams are new), only the page is kept: a list with a hole
 * would be a lie.
 */
export function refreshed(loaded: Loaded, page: StreamPage): Loaded {
  const last = page.streams.at(-1);
  if (!page.hasMore || last === undefined) {
    return { streams: page.streams, hasMore: page.hasMore };
  }
  const fresh = new Set(page.streams.map((stream) => stream.id));
  const reach = loaded.streams.findLastIndex((stream) => fresh.has(stream.id));
  const older = reach < 0 ? [] : loaded.streams.slice(reach + 1).filter((stream) => isOlder(stream, last));
  if (older.length === 0) {
    return { streams: page.streams, hasMore: true };
  }
  return { streams: [...page.streams, ...older], hasMore: loaded.hasMore };
}

/** Returns the list with an older page behind it. */
export function withOlder(loaded: Loaded, page: StreamPage, most: number = MAX_ROWS): Loaded {
  const known = new Set(loaded.streams.map((stream) => stream.id));
  const fresh = page.streams.filter((stream) => !known.has(stream.id));
  const streams = [...loaded.streams, ...fresh];
  return { streams: streams.slice(0, most), hasMore: page.hasMore || streams.length > most };
}

/** Returns the list with some of its streams read again, each by itself; null: it is gone. */
export function updated(loaded: Loaded, news: ReadonlyMap<string, Stream | null>): Loaded {
  const streams = loaded.streams.map((stream) => (news.has(stream.id) ? (news.get(stream.id) ?? null) : stream));
  return { streams: streams.filter((stream) => stream !== null), hasMore: loaded.hasMore };
}

function isOlder(stream: Stream, than: Stream): boolean {
  return stream.createdAt === null || than.createdAt === null || stream.createdAt <= than.createdAt;
}
