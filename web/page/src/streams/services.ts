/** What this view needs of the rest of the page. */

import type { KeyInUse } from "../relay/api.ts";

export interface FollowStatus {
  readonly state: string;
  readonly cause?: string;
}

/** What a stream that is followed tells; the parts of `@headrace/client`'s updates that are used here. */
export interface FollowHandlers {
  onChunk(update: { readonly text: string; readonly reasoning: string }): void;
  onState(status: FollowStatus): void;
}

/** The part of `LLMStreamClient` that is used here. */
export interface Attacher {
  attach(streamId: string, handlers: FollowHandlers): { detach(): void };
}

export interface StreamsServices {
  /** Follows streams. */
  readonly client: Attacher;
  /** The API key of the session. */
  readonly key: KeyInUse;
}
