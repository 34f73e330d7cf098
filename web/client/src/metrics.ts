/** The figures of one stream, as its reader felt them. */

import type { MetricsConfig } from "./config.ts";
import type { JsonObject } from "./json.ts";
import type { StreamStatus } from "./status.ts";
import type { Times } from "./stopwatch.ts";

export type TransportName = "fetch" | "eventsource" | "websocket";

/** Times in milliseconds from the call of `generate` or `attach`; null for what did not happen or is turned off. */
export interface StreamMetrics {
  readonly firstByteMs: number | null;
  /** First chunk with content. */
  readonly firstTokenMs: number | null;
  /** The frame after the first text was given to the caller was painted. Null when the page was hidden. */
  readonly firstVisibleMs: number | null;
  /** Per output token behind the first, by `usage`, else by chunks with content. Null for fewer than two. */
  readonly tpotMs: number | null;
  readonly totalMs: number | null;
  /** From `cancel` to the end. */
  readonly cancelMs: number | null;
  /** Breaks that were overcome. */
  readonly reconnects: number;
  readonly finishReason: string | null;
  readonly state: StreamStatus["state"];
  /** The one that was used in the end. */
  readonly transport: TransportName;
  /** Output tokens by `usage`, else chunks with content. */
  readonly tokens: number;
}

export interface Measured {
  readonly startedAt: number;
  readonly times: Times;
  readonly visibleAt: number | null;
  readonly cancelledAt: number | null;
  readonly reconnects: number;
  readonly finishReason: string | null;
  readonly usage: JsonObject | null;
  readonly state: StreamStatus["state"];
  readonly transport: TransportName;
}

/** Returns the figures that a config asks for. */
export function metricsOf(measured: Measured, config: MetricsConfig): StreamMetrics {
  const { startedAt, times, reconnects, state, transport } = measured;
  const since = (at: number | null, isOn = true): number | null =>
    at === null || !isOn ? null : Math.max(0, at - startedAt);
  const completion = measured.usage?.completion_tokens;
  const tokens = typeof completion === "number" && completion >= 0 ? completion : times.contents;
  return {
    firstByteMs: since(times.firstByteAt, config.ttft),
    firstTokenMs: since(times.firstContentAt, config.ttft),
    firstVisibleMs: since(measured.visibleAt, config.ttft),
    tpotMs: config.tpot ? tpotOf(times, tokens) : null,
    totalMs: since(times.endedAt),
    cancelMs: config.cancellation ? cancelOf(measured) : null,
    reconnects,
    finishReason: config.finishReason ? measured.finishReason : null,
    state,
    transport,
    tokens,
  };
}

/** From the first to the last content, by the tokens behind the first. */
function tpotOf({ firstContentAt, lastContentAt }: Times, tokens: number): number | null {
  if (firstContentAt === null || lastContentAt === null || tokens < 2) return null;
  return (lastContentAt - firstContentAt) / (tokens - 1);
}

function cancelOf({ cancelledAt, times }: Measured): number | null {
  return cancelledAt === null || times.endedAt === null ? null : Math.max(0, times.endedAt - cancelledAt);
}
