/** Telling the relay what its reader perceived. */

import { streamURL } from "./address.ts";
import type { Fetch } from "./http.ts";
import type { StreamMetrics } from "./metrics.ts";

/** Sends the figures of an ended stream. Nothing waits for it, and nothing comes of a failure. */
export function reportMetrics(
  fetch: Fetch,
  to: { root: string; streamId: string; headers: Readonly<Record<string, string>> },
  metrics: StreamMetrics,
): void {
  const body = {
    first_byte_ms: metrics.firstByteMs,
    first_token_ms: metrics.firstTokenMs,
    first_visible_ms: metrics.firstVisibleMs,
    tpot_ms: metrics.tpotMs,
    total_ms: metrics.totalMs,
    reconnects: metrics.reconnects,
    transport: metrics.transport,
  };
  const headers = { ...to.headers, "Content-Type": "application/json" };
  const init = { method: "POST", headers, body: JSON.stringify(body), keepalive: true };
  fetch(streamURL(to.root, to.streamId, "/perceived"), init)
    .then((response) => response.body?.cancel())
    .catch(() => {});
}
