/** Questions to the relay's JSON routes: the session's key goes along, and what is refused is told by kind. */

import { keyHeaders, messageOf, paramOf } from "./json.ts";
import { type ProblemKind, SourceError } from "./problem.ts";

/** How long an answer may take, in milliseconds: cancelling waits for the end of the stream, a second at most. */
const PATIENCE_MS = 10_000;

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** The part of the session's key that is used here. */
export interface KeyInUse {
  readonly value: string | null;
  /** The relay answered 401 to `key`. */
  refused(key: string | null): void;
}

export interface Asking {
  /** Sent as JSON. */
  readonly body?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | null;
}

export type Method = "GET" | "POST" | "DELETE";

export class Api {
  readonly #fetch: Fetch;
  readonly #key: KeyInUse;

  constructor(fetch: Fetch, key: KeyInUse) {
    this.#fetch = fetch;
    this.#key = key;
  }

  /**
   * Return the JSON that a route answers.
   *
   * @throws SourceError It answered with an error, or not at all.
   */
  async json(method: Method, path: string, asking: Asking = {}): Promise<unknown> {
    const { status, body } = await this.ask(method, path, asking);
    return checked(status, body);
  }

  /**
   * Return status and JSON of an answer, whatever its status; null for what is no JSON.
   *
   * @throws SourceError Nobody answered.
   */
  async ask(method: Method, path: string, asking: Asking = {}): Promise<{ status: number; body: unknown }> {
    const response = await this.#send(method, path, asking);
    return { status: response.status, body: await response.json().catch(() => null) };
  }

  /**
   * Return an answer as a file.
   *
   * @throws SourceError It answered with an error, or not at all.
   */
  async file(path: string, type: string, signal: AbortSignal | null = null): Promise<Blob> {
    const response = await this.#send("GET", path, { headers: { Accept: type }, signal });
    if (!response.ok) checked(response.status, await response.json().catch(() => null));
    return response.blob();
  }

  async #send(method: Method, path: string, { body, headers, signal }: Asking): Promise<Response> {
    const patience = AbortSignal.timeout(PATIENCE_MS);
    const key = this.#key.value;
    const type = body === undefined ? {} : { "Content-Type": "application/json" };
    const init: RequestInit = {
      method,
      headers: { ...keyHeaders(key), ...type, ...headers },
      cache: "no-store",
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
    };
    try {
      const response = await this.#fetch(path, body === undefined ? init : { ...init, body: JSON.stringify(body) });
      if (response.status === 401) this.#key.refused(key);
      return response;
    } catch (error) {
      throw new SourceError("unreachable", error instanceof Error ? error.message : String(error));
    }
  }
}

/**
 * Return `body` of an answer that is a success.
 *
 * @throws SourceError It is none.
 */
export function checked(status: number, body: unknown): unknown {
  if (status >= 200 && status < 300) return body;
  const message = messageOf(body);
  throw new SourceError(kindOf(status, message), message ?? `the relay answered ${status}`, paramOf(body));
}

/** An error of the 500s without the relay's own words is a proxy's that did not reach it. */
function kindOf(status: number, message: string | null): ProblemKind {
  switch (status) {
    case 401:
      return "unauthorized";
    case 403:
      return "forbidden";
    case 404:
      return "not_found";
    default:
      return status >= 500 && message === null ? "unreachable" : "refused";
  }
}
