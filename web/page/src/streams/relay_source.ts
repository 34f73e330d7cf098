/** The relay behind this page, by its JSON routes and the page's client. */

import { Api, checked, type Fetch } from "../relay/api.ts";
import { say } from "../words.ts";
import { type EngineHealth, readEngines } from "./engine.ts";
import type { FollowStatus, StreamsServices } from "./services.ts";
import { type Follower, type ListQuestion, SourceError, type StreamsSource } from "./source.ts";
import { readStream, readStreamPage, type Stream, type StreamPage } from "./stream.ts";
import { readTimelinePage, type TimelinePage } from "./timeline.ts";

/** Flushes asked for at once. */
const TIMELINE_LIMIT = 2000;

/** The stream's facts were had just before, so 404 and 405 mean a relay without this route; 410, that it kept none. */
const NO_TIMELINE: readonly number[] = [404, 405, 410];

/** A relay of before, or a reader who is no admin any more. */
const NO_ENGINES: readonly number[] = [403, 404, 405];

/** States of a stream that is followed, or will be again. */
const OPEN_STATES: readonly string[] = ["waiting", "streaming", "reconnecting"];

export class RelaySource implements StreamsSource {
  readonly #services: StreamsServices;
  readonly #api: Api;

  constructor(services: StreamsServices, fetch: Fetch) {
    this.#services = services;
    this.#api = new Api(fetch, services.key);
  }

  async list({ state, after, limit }: ListQuestion, signal: AbortSignal): Promise<StreamPage> {
    const query = new URLSearchParams({ limit: String(limit) });
    if (state !== null) {
      query.set("state", state);
    }
    if (after !== null) {
      query.set("after", after);
    }
    return readStreamPage(await this.#api.json("GET", `/v1/streams?${query}`, { signal }));
  }

  async stream(id: string, signal: AbortSignal): Promise<Stream> {
    return found(await this.#api.json("GET", pathOf(id), { signal }));
  }

  async timeline(id: string, after: number, signal: AbortSignal): Promise<TimelinePage | null> {
    const path = `${pathOf(id)}/timeline?after=${after}&limit=${TIMELINE_LIMIT}`;
    const { status, body } = await this.#api.ask("GET", path, { signal });
    return NO_TIMELINE.includes(status) ? null : readTimelinePage(checked(status, body));
  }

  async engines(signal: AbortSignal): Promise<readonly EngineHealth[] | null> {
    const { status, body } = await this.#api.ask("GET", "/v1/engines", { signal });
    return NO_ENGINES.includes(status) ? null : readEngines(checked(status, body));
  }

  async cancel(id: string): Promise<Stream> {
    return found(await this.#api.json("POST", `${pathOf(id)}/cancel`));
  }

  async erase(id: string): Promise<void> {
    const { status, body } = await this.#api.ask("DELETE", pathOf(id));
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
}

function pathOf(id: string): string {
  return `/v1/streams/${encodeURIComponent(id)}`;
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
