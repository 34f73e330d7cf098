import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Dialog } from "../shell/dialog.tsx";
import type { Key } from "./key.ts";
import type { KeysModel } from "./keys_model.ts";
import { titleOf } from "./wording.ts";

const KEPT_FOR = [
  [0, "Not at all: it ends now"],
  [3600, "1 hour"],
  [86_400, "24 hours"],
  [604_800, "7 days"],
] as const;

const USUAL_S = 86_400;

/** Asks how long the old secret is to stay good. */
export function RotateDialog({ of: key, model }: { of: Key; model: KeysModel }): JSX.Element {
  const { refusal, isDoing } = model.state.value;
  const [keptS, setKeptS] = useState(USUAL_S);
  const rotate = (event: Event) => {
    event.preventDefault();
    void model.rotate(key, keptS);
  };
  return (
    <Dialog class="prompt" labelledBy="rotate-title" onClose={() => model.close()}>
      <form class="prompt-body" onSubmit={rotate}>
        <h2 id="rotate-title">Rotate “{titleOf(key)}”</h2>
        <p>It gets a new secret, which is shown once. Owner, limits and what was spent stay.</p>
        <div class="field">
          <label for="keep-old">The old one stays good for</label>
          <select
            id="keep-old"
            value={String(keptS)}
            onChange={({ currentTarget }) => setKeptS(Number(currentTarget.value))}
          >
            {KEPT_FOR.map(([seconds, words]) => (
              <option key={seconds} value={String(seconds)}>
                {words}
              </option>
            ))}
          </select>
        </div>
        {refusal === null ? null : (
          <p class="hint is-wrong" role="alert">
            {refusal}
          </p>
        )}
        <div class="prompt-actions">
          <button type="button" class="button" onClick={() => model.close()}>
            Cancel
          </button>
          <button type="submit" class="button is-primary" aria-disabled={isDoing}>
            {isDoing ? "Rotating…" : "Rotate"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
