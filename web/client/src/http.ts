/** One streaming answer over `fetch`. */

import type { Clock } from "./clock.ts";
import type { Dialect } from "./dialects.ts";
import { endingOf } from "./ending.ts";
import { failureOfAnswer } from "./failure.ts";
import { errorObject, faultOf, faultOfError } from "./fault.ts";
import type { Sink } from "./line.ts";
import type { Breach } from "./session.ts";
import { Watchdog } from "./watchdog.ts";

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** How much of an error body is read. */
const MAX_ERROR_BYTES = 64 * 1024;

export interface Exchange {
  readonly fetch: Fetch;
  readonly clock: Clock;
  /** Longest silence, in milliseconds. */
  readonly timeout: number;
}

/** How a body is to be read, by the head of its answer; null when it is no stream. */
export type Opening = (response: Response) => Dialect | null;

/** Sends one request, and gives its answer to the sink. */
export async function followAnswer(
  exchange: Exchange,
  request: { url: string; init: RequestInit },
  opening: Opening,
  sink: Sink,
  signal: AbortSignal,
): Promise<Breach | null> {
  const connection = new AbortController();
  const leave = (): void => connection.abort(signal.reason);
  signal.addEventListener("abort", leave);
  if (signal.aborted) leave();
  const silence = new Error(`nothing came for ${exchange.timeout / 1000} s`);
  const watchdog = new Watchdog(exchange.clock, exchange.timeout, () => connection.abort(silence));
  let hasAnswer = false;
  try {
    watchdog.feed();
    // Browsers keep no answer to a POST, and would tell the relay with `Cache-Control: no-cache` that it may not, either.
    const cache = request.init.method === "GET" ? "no-store" : "default";
    const init = { ...request.init, cache, signal: connection.signal } as const;
    const response = await exchange.fetch(request.url, init);
    hasAnswer = true;
    const dialect = response.body === null && response.status !== 204 ? null : opening(response);
    if (dialect === null) return await refusalOf(response);
    return await readBody(response, dialect, sink, watchdog);
  } catch (error) {
    if (connection.signal.aborted) return brokenBy(connection.signal.reason);
    return hasAnswer ? brokenBy(error) : unansweredBy(request.url, error);
  } finally {
    watchdog.rest();
    signal.removeEventListener("abort", leave);
    // Frees the connection where the body was not read to its end.
    connection.abort();
  }
}

/** Returns the breach of a connection that is not there, or no more. */
export function brokenBy(reason: unknown): Breach {
  const message = reason instanceof Error ? reason.message : String(reason);
  return { failure: "broken", fault: faultOf("lost", message) };
}

/** Returns the breach of a request without any answer. Browsers do not tell a page whether it was the server's rules (CORS). */
function unansweredBy(url: string, reason: unknown): Breach {
  const { origin } = new URL(url);
  const own = globalThis.location?.origin;
  const isForeign = own !== undefined && own !== origin;
  const who = isForeign ? `${origin} does not answer, or does not let pages of ${own} in` : `${origin} does not answer`;
  const { failure, fault } = brokenBy(reason);
  return { failure, fault: { ...fault, message: `${who}: ${fault.message}` } };
}

async function readBody(response: Response, dialect: Dialect, sink: Sink, watchdog: Watchdog): Promise<Breach | null> {
  const reader = response.body?.getReader();
  for (;;) {
    // Who takes nothing is not waited for: no read, no silence.
    watchdog.rest();
    await sink.room();
    if (sink.isOver) return null;
    watchdog.feed();
    const read = await reader?.read();
    if (read === undefined || read.done) {
      sink.take(dialect.receiveEnd(), 0);
      return sink.isOver ? null : brokenBy("the answer ended without its end");
    }
    sink.life();
    sink.take(dialect.receive(read.value), read.value.byteLength);
  }
}

async function refusalOf(response: Response): Promise<Breach> {
  const body = await beginningOf(response);
  const error = errorObject(body);
  const ending = endingOf(error);
  const failure = failureOfAnswer(response.status, ending !== null ? "end" : error !== null ? "error" : "nothing");
  if (response.status < 400 && error === null) {
    return {
      failure,
      fault: { ...faultOf("protocol", "the server answered, but not with a stream"), status: response.status },
    };
  }
  return { failure, fault: faultOfError(error, response.status, retryAfterMs(response.headers)), ending };
}

/** Returns `Retry-After` in milliseconds; null for a date, or none (RFC 9110 section 10.2.3). */
function retryAfterMs(headers: Headers): number | null {
  const text = headers.get("retry-after") ?? "";
  return /^[0-9]{1,9}$/.test(text) ? Number(text) * 1000 : null;
}

async function beginningOf(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  const utf8 = new TextDecoder();
  let text = "";
  while (reader !== undefined && text.length < MAX_ERROR_BYTES) {
    const { done, value } = await reader.read();
    if (done) break;
    text += utf8.decode(value, { stream: true });
  }
  return text;
}
