/** Chat requests. */

import type { StreamConfig } from "./config.ts";
import type { JsonObject } from "./json.ts";

export interface ChatMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly [field: string]: unknown;
}

/** The body of a chat request; any field of OpenAI's API may stand in it. */
export interface ChatPayload {
  readonly messages?: readonly ChatMessage[];
  readonly model?: string | undefined;
  readonly [field: string]: unknown;
}

/**
 * Returns the payload with what the config gives. A field that is there stays, even as `undefined`, which leaves it to the
 * engine. Models that reason have `max_completion_tokens` instead of `max_tokens`.
 */
export function filled(payload: ChatPayload, config: StreamConfig): JsonObject {
  const hasLimit = "max_tokens" in payload || "max_completion_tokens" in payload;
  return {
    ...payload,
    ...(hasLimit ? {} : { max_tokens: config.maxTokens }),
    ...("temperature" in payload ? {} : { temperature: config.temperature }),
    stream: true,
  };
}
