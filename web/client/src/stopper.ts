/** Telling a relay that a stream is not wanted any more. */

import type { Clock } from "./clock.ts";
import type { Fetch } from "./http.ts";

/** How long a relay may not know a stream whose request is still on its way. */
const UNKNOWN_MS = 2000;
const FIRST_WAIT_MS = 50;
const MAX_WAIT_MS = 1000;

export interface StopRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** How long to try: after that the relay has stopped by itself, as nobody follows the stream. */
  readonly tryForMs: number;
  /** The end was told meanwhile. */
  readonly isOver: () => boolean;
}

/**
 * Tells the relay, again where it could not be told. The request goes out at once, on the caller's own thread and with
 * `keepalive`, so that it survives a page that is left just now. Never rejects.
 *
 * @returns Whether the relay knows.
 */
export async function tellStop(fetch: Fetch, clock: Clock, request: StopRequest): Promise<boolean> {
  const since = clock.now();
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, MAX_WAIT_MS)) {
    const status = await statusOf(fetch, request);
    const spentMs = clock.now() - since;
    if (status !== null && status < 400) return true;
    const mayPass = status === null || status >= 500 || status === 429;
    const isHopeful = status === 404 ? spentMs < UNKNOWN_MS : mayPass && spentMs < request.tryForMs;
    if (!isHopeful || request.isOver()) return false;
    await new Promise<void>((resolve) => void clock.after(waitMs, resolve));
    if (request.isOver()) return false;
  }
}

async function statusOf(fetch: Fetch, { url, headers }: StopRequest): Promise<number | null> {
  try {
    const init = { method: "POST", headers: { ...headers }, keepalive: true };
    const response = await fetch(url, init);
    await response.body?.cancel();
    return response.status;
  } catch {
    return null;
  }
}
