/** What the platform gives, in a page, a Worker or Node. */

import { systemClock } from "./clock.ts";
import type { Platform } from "./host.ts";
import { systemNetwork } from "./network.ts";

/** Returns the platform's own, with `over` laid over it. */
export function platformOf(over: Partial<Platform> = {}): Platform {
  return {
    fetch: (url, init) => globalThis.fetch(url, init),
    webSocket: typeof WebSocket === "function" ? (url, protocols) => new WebSocket(url, protocols) : null,
    eventSource: typeof EventSource === "function" ? (url) => new EventSource(url) : null,
    clock: systemClock,
    network: systemNetwork,
    random: Math.random,
    ...over,
  };
}
