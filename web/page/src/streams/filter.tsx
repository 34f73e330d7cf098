/** Which streams the list shows. */

import { STATES, type StreamState } from "./stream.ts";
import { stateWord } from "./wording.ts";

export interface FilterProps {
  value: StreamState | null;
  onChange: (value: StreamState | null) => void;
}

export function StateFilter({ value, onChange }: FilterProps) {
  return (
    <fieldset class="streams-filter">
      <legend class="streams-hidden">Show streams that are</legend>
      {[null, ...STATES].map((state) => (
        <label key={state ?? "all"}>
          <input type="radio" name="streams-state" checked={state === value} onChange={() => onChange(state)} />
          <span>{state === null ? "All" : stateWord(state)}</span>
        </label>
      ))}
    </fieldset>
  );
}
