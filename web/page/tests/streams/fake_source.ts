/** A relay in memory, as far as the Streams view is concerned. */

import type { EngineHealth } from "../../src/streams/engine.ts";
import { type Follower, type ListQuestion, SourceError, type StreamsSource } from "../../src/streams/source.ts";
import type { Stream, StreamPage } from "../../src/streams/stream.ts";
import type { Flush, TimelinePage } from "../../src/streams/timeline.ts";
import { streamOf } from "./kit.ts";

export class FakeSource implements StreamsSource {
  /** Newest first. */
  streams: Stream[] = [];
  flushes: Flush[] = [];
  /** What every call fails with. */
  failure: SourceError | null = null;
  hasTimeline = true;
  /** Null: not told. */
  health: readonly EngineHealth[] | null = null;
  /** Flushes on one page of a timeline. */
  pageSize = 2000;
  readonly questions: ListQuestion[] = [];
  readonly timelineAfter: number[] = [];
  readonly calls: string[] = [];
  follower: Follower | null = null;

  async list(question: ListQuestion): Promise<StreamPage> {
    this.questions.push(question);
    this.#fail();
    const after = this.streams.findIndex(({ id }) => id === question.after);
    const passing = this.streams
      .slice(after + 1)
      .filter(({ state }) => question.state === null || state === question.state);
    return { streams: passing.slice(0, question.limit), hasMore: passing.length > question.limit };
  }

  async stream(id: string): Promise<Stream> {
    this.calls.push(`stream ${id}`);
    this.#fail();
    return this.#find(id);
  }

  async timeline(_id: string, after: number): Promise<TimelinePage | null> {
    this.timelineAfter.push(after);
    this.#fail();
    if (!this.hasTimeline) {
      return null;
    }
    if (after > (this.flushes.at(-1)?.offset ?? -1)) {
      throw new SourceError("refused", "after lies beyond the newest offset");
    }
    const behind = this.flushes.filter(({ offset }) => offset > after);
    const flushes = behind.slice(0, this.pageSize);
    const entries = this.flushes.reduce((sum, flush) => sum + flush.entries, 0);
    return { flushes, hasMore: behind.length > flushes.length, entries, bytes: 100 * entries };
  }

  async engines(): Promise<readonly EngineHealth[] | null> {
    this.calls.push("engines");
    this.#fail();
    return this.health;
  }

  async cancel(id: string): Promise<Stream> {
    this.calls.push(`cancel ${id}`);
    this.#fail();
    this.set(streamOf(id, { state: "cancelled", cause: "client_stop", ended_at: 1005 }));
    return this.#find(id);
  }

  async erase(id: string): Promise<void> {
    this.calls.push(`erase ${id}`);
    this.#fail();
    this.streams = this.streams.filter((stream) => stream.id !== id);
  }

  follow(id: string, follower: Follower): () => void {
    this.calls.push(`follow ${id}`);
    this.follower = follower;
    return () => {
      this.calls.push(`detach ${id}`);
      this.follower = null;
    };
  }

  /** Changes a stream. */
  set(stream: Stream): void {
    this.streams = this.streams.map((known) => (known.id === stream.id ? stream : known));
  }

  #find(id: string): Stream {
    const stream = this.streams.find((known) => known.id === id);
    if (stream === undefined) {
      throw new SourceError("not_found", `there is no stream '${id}'`);
    }
    return stream;
  }

  #fail(): void {
    if (this.failure !== null) {
      throw this.failure;
    }
  }
}
