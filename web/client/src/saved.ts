/** Streams of this tab that have not ended, kept over a reload. */

import { isObject, isOffset, numberOrNull } from "./json.ts";

/** A stream that had not ended when it was last heard of. */
export interface SavedStream {
  readonly streamId: string;
  /** Absolute URL that started it. */
  readonly endpoint: string;
  /** Of an entry that was given to the page; newer ones may have been, in the quarter of a second before a reload. */
  readonly offset: number;
  /** Milliseconds since the Unix epoch. */
  readonly startedAt: number;
}

/** The part of the platform's Storage that is used. */
export interface StorageLike {
  getItem(name: string): string | null;
  setItem(name: string, value: string): void;
}

const NAME = "headrace.streams";
const MAX_STREAMS = 100;

/** Never throws: a tab without storage has no saved streams. */
export class SavedStreams {
  readonly #storage: StorageLike | null;

  constructor(storage: StorageLike | null) {
    this.#storage = storage;
  }

  /** Returns the streams, newest first. */
  list(): SavedStream[] {
    try {
      const value: unknown = JSON.parse(this.#storage?.getItem(NAME) ?? "[]");
      const streams: readonly unknown[] = Array.isArray(value) ? value : [];
      return streams.flatMap((each) => savedOf(each) ?? []).sort((one, other) => other.startedAt - one.startedAt);
    } catch {
      return [];
    }
  }

  find(streamId: string): SavedStream | null {
    return this.list().find((each) => each.streamId === streamId) ?? null;
  }

  put(stream: SavedStream): void {
    this.#write([stream, ...this.list().filter(({ streamId }) => streamId !== stream.streamId)]);
  }

  remove(streamId: string): void {
    const streams = this.list();
    const left = streams.filter((each) => each.streamId !== streamId);
    if (left.length < streams.length) this.#write(left);
  }

  #write(streams: readonly SavedStream[]): void {
    try {
      this.#storage?.setItem(NAME, JSON.stringify(streams.slice(0, MAX_STREAMS)));
    } catch {
      // Full or forbidden: the stream runs on all the same, only a reload will not find it.
    }
  }
}

/** Returns the tab's session storage; null where there is none, or it is forbidden. */
export function sessionStorageOrNull(): StorageLike | null {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null;
  }
}

function savedOf(value: unknown): SavedStream | null {
  if (!isObject(value)) return null;
  const { streamId, endpoint, offset } = value;
  const startedAt = numberOrNull(value.startedAt);
  const isWhole =
    typeof streamId === "string" && typeof endpoint === "string" && isOffset(offset) && startedAt !== null;
  return isWhole ? { streamId, endpoint, offset, startedAt } : null;
}
