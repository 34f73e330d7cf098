/** The text of a stream as it comes, its newest part kept. */

import type { Follower } from "./source.ts";

/** Most characters kept of the answer, and of the reasoning. */
export const MAX_CHARACTERS = 1_000_000;

/** Pieces shorter than this are joined, so that an answer of many tokens is not as many nodes. */
const PIECE_CHARACTERS = 4096;

/** Gets what changes; all of it can be had from the transcript again. */
export interface TranscriptListener {
  /** Text was added at the end. */
  onAdded(text: string): void;
  /** So many characters were dropped at the start. */
  onDropped(characters: number): void;
}

/** One text that grows at its end and, when it is too long, loses its start. */
export class Transcript {
  readonly #most: number;
  readonly #listeners = new Set<TranscriptListener>();
  #pieces: string[] = [];
  #length = 0;
  #dropped = 0;

  constructor(most: number = MAX_CHARACTERS) {
    this.#most = most;
  }

  /** What is kept. */
  get text(): string {
    return this.#pieces.join("");
  }

  get length(): number {
    return this.#length;
  }

  /** Characters that are no longer kept. */
  get dropped(): number {
    return this.#dropped;
  }

  add(text: string): void {
    if (text === "") {
      return;
    }
    const last = this.#pieces.at(-1);
    if (last !== undefined && last.length + text.length <= PIECE_CHARACTERS) {
      this.#pieces[this.#pieces.length - 1] = last + text;
    } else {
      this.#pieces.push(text);
    }
    this.#length += text.length;
    for (const listener of this.#listeners) {
      listener.onAdded(text);
    }
    this.#shorten();
  }

  /** Tells of what changes from now on; returns what ends that. */
  listen(listener: TranscriptListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Drops whole pieces, at once a sixteenth of all, so that it is rare. */
  #shorten(): void {
    if (this.#length <= this.#most) {
      return;
    }
    const goal = this.#most - Math.floor(this.#most / 16);
    let count = 0;
    let characters = 0;
    while (this.#length - characters > goal && count < this.#pieces.length - 1) {
      characters += this.#pieces[count]?.length ?? 0;
      count += 1;
    }
    this.#pieces = this.#pieces.slice(count);
    this.#length -= characters;
    this.#dropped += characters;
    for (const listener of this.#listeners) {
      listener.onDropped(characters);
    }
  }
}

/** What one stream says: its answer and its reasoning. */
export class Transcripts implements Follower {
  readonly answer = new Transcript();
  readonly reasoning = new Transcript();
  readonly onNote: (note: string | null) => void;
  readonly onEnd: () => void;

  constructor(onNote: (note: string | null) => void, onEnd: () => void) {
    this.onNote = onNote;
    this.onEnd = onEnd;
  }

  onText(text: string): void {
    this.answer.add(text);
  }

  onReasoning(text: string): void {
    this.reasoning.add(text);
  }
}
