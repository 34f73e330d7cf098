/** A stream's state as word, colour and shape: none of them alone. */

import type { StreamState } from "./stream.ts";
import { stateWord } from "./wording.ts";

/** Outlines in a box of 16 by 16. */
const SHAPES: Readonly<Record<StreamState, string>> = {
  queued: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM8 5v3.2l2 1.6",
  in_progress: "M4.5 2.8v10.4L13 8z",
  completed: "M2.5 8.5l3.6 3.7L13.5 4",
  cancelled: "M3.5 3.5h9v9h-9z",
  truncated: "M1.5 8h4l1-4M9.5 12l1-4h4",
  failed: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  unknown: "M5.5 6a2.5 2.5 0 1 1 3.6 2.2c-.7.4-1.1.8-1.1 1.6M8 12.4v.2",
};

export function StateShape({ state }: { state: StreamState }) {
  return (
    <svg class="state-shape" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" focusable="false">
      <path d={SHAPES[state]} />
    </svg>
  );
}

export function StateBadge({ state }: { state: StreamState }) {
  return (
    <span class="state-badge" data-state={state}>
      <StateShape state={state} />
      {stateWord(state)}
    </span>
  );
}
