/** What the Streams view needs of the outside: the relay, and a stream's text as it comes. */

export { type Problem, type ProblemKind, problemOf, SourceError } from "../relay/problem.ts";

import type { EngineHealth } from "./engine.ts";
import type { Stream, StreamPage, StreamState } from "./stream.ts";
import type { TimelinePage } from "./timeline.ts";

/** Which streams to list. */
export interface ListQuestion {
  /** Only those in this state; null: all. */
  readonly state: StreamState | null;
  /** Only those older than this one. */
  readonly after: string | null;
  /** Most streams, 1 to 100. */
  readonly limit: number;
}

/** Gets a stream's text as it comes; calls are in order. */
export interface Follower {
  onText(text: string): void;
  onReasoning(text: string): void;
  /** In what way it is followed now, in plain words; null: nothing to say. */
  onNote(note: string | null): void;
  /** Nothing more comes. */
  onEnd(): void;
}

/** The relay, as far as this view is concerned. */
export interface StreamsSource {
  list(question: ListQuestion, signal: AbortSignal): Promise<StreamPage>;
  stream(id: string, signal: AbortSignal): Promise<Stream>;
  /** Flushes whose first offset is greater than `after`; null: this relay tells of none. */
  timeline(id: string, after: number, signal: AbortSignal): Promise<TimelinePage | null>;
  /** How the engines do; null: this relay does not tell, or not the reader. */
  engines(signal: AbortSignal): Promise<readonly EngineHealth[] | null>;
  /** Stops the engine; resolves to the stream as it is then. */
  cancel(id: string): Promise<Stream>;
  /** Removes log and record. */
  erase(id: string): Promise<void>;
  /** Follows from the start to the end; the returned call ends that, and stops nothing but the following. */
  follow(id: string, follower: Follower): () => void;
}
