/** The relay behind this page, by its JSON routes and the page's client. */

import { keyHeaders, messageOf } from "../relay/json.ts";
import { say } from "../words.ts";
import type { FollowStatus, StreamsServices } from "./services.ts";
import { type Follower, type ListQuestion, type ProblemKind, SourceError, type StreamsSource } from "./source.ts";
import { readStream, readStreamPage, type Stream, type StreamPage } from "./stream.ts";
import { readTimelinePage, type TimelinePage } from "./timeline.ts";

/** How long an answer may take, in milliseconds: cancelling waits for the end of the stream, a second at most. */
const PATIENCE_MS = 10_000;

/** Flushes asked for at once. */
const TIMELINE_LIMIT = 2000;

/** The stream's facts were had just before, so 404 and 405 mean a relay without this route; 410, that it kept none. */
const NO_TIMELINE: readonly number[] = [404, 405, 410];

/** States of a stream that is followed, or will be again. */
const OPEN_STATES: readonly string[] = ["waiting", "streaming", "reconnecting"];

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export class RelaySource implements StreamsSource {
  readonly #services: StreamsServices;
  readonly #fetch: Fetch;

  constructor(services: StreamsServices, fetch: Fetch) {
    this.#services = services;
    this.#fetch = fetch;
  }

  async list({ state, after, limit }: ListQuestion, signal: AbortSignal): Promise<StreamPage> {
    const query = new URLSearchParams({ limit: String(limit) });
    if (state !== null) {
      query.set("state", state);
    }
    if (after !== null) {
      query.set("after", after);
    }
    return readStreamPage(await this.#json("GET", `/v1/streams?${query}`, signal));
  }

  async stream(id: string, signal: AbortSignal): Promise<Stream> {
    return found(await this.#json("GET", pathOf(id), signal));
  }

  async timeline(id: string, after: number, signal: AbortSignal): Promise<TimelinePage | null> {
    const path = `${pathOf(id)}/timeline?after=${after}&limit=${TIMELINE_LIMIT}`;
    const { status, body } = await this.#ask("GET", path, signal);
    return NO_TIMELINE.includes(status) ? null : readTimelinePage(checked(status, body));
  }

  async cancel(id: string): Promise<Stream> {
    return found(await this.#json("POST", `${pathOf(id)}/cancel`, null));
  }

  async erase(id: string): Promise<void> {
    const { status, body } = await this.#ask("DELETE", pathOf(id), null);
    // Somebody else was faster.
    if (status !== 404) {
      checked(status, body);
    }
  }

  follow(id: string, follower: Follower): () => void {
    const generation = this.#services.client.attach(id, {
      onChunk({ text, reasoning }) {
        follower.onReasoning(reasoning);
        follower.onText(text);
      },
      onState(status) {
        follower.onNote(noteOf(status));
        if (!OPEN_STATES.includes(status.state)) {
          follower.onEnd();
        }
      },
    });
    return () => generation.detach();
  }

  async #json(method: string, path: string, signal: AbortSignal | null): Promise<unknown> {
    const { status, body } = await this.#ask(method, path, signal);
    return checked(status, body);
  }

  async #ask(method: string, path: string, signal: AbortSignal | null): Promise<{ status: number; body: unknown }> {
    const patience = AbortSignal.timeout(PATIENCE_MS);
    try {
      const response = await this.#fetch(path, {
        method,
        headers: keyHeaders(this.#services.key.value),
        cache: "no-store",
        signal: signal === null ? patience : AbortSignal.any([signal, patience]),
      });
      const body: unknown = await response.json().catch(() => null);
      if (response.status === 401) {
        this.#services.key.isWanted.value = true;
      }
      return { status: response.status, body };
    } catch (error) {
      throw new SourceError("unreachable", error instanceof Error ? error.message : String(error));
    }
  }
}

function pathOf(id: string): string {
  return `/v1/streams/${encodeURIComponent(id)}`;
}

function checked(status: number, body: unknown): unknown {
  if (status >= 200 && status < 300) {
    return body;
  }
  const message = messageOf(body);
  throw new SourceError(kindOf(status, message), message ?? `the relay answered ${status}`);
}

/** An error of the 500s without the relay's own words is a proxy's that did not reach it. */
function kindOf(status: number, message: string | null): ProblemKind {
  switch (status) {
    case 401:
      return "unauthorized";
    case 404:
      return "not_found";
    default:
      return status >= 500 && message === null ? "unreachable" : "refused";
  }
}

function found(body: unknown): Stream {
  const stream = readStream(body);
  if (stream === null) {
    throw new SourceError("refused", "the relay answered something that is not a stream");
  }
  return stream;
}

/** What is said beside the text: how it is followed. How the stream itself ended stands above, in its facts. */
function noteOf(status: FollowStatus): string | null {
  if (status.state === "reconnecting") {
    return say({ state: "reconnecting" });
  }
  return status.cause === "connection_lost" ? "Connection lost; open the stream again to go on" : null;
}
