import type { JSX } from "preact";
import { Dialog } from "../shell/dialog.tsx";
import type { Key } from "./key.ts";
import type { KeysModel } from "./keys_model.ts";
import { titleOf } from "./wording.ts";

interface RevokeDialogProps {
  readonly of: Key;
  readonly model: KeysModel;
  /** It is the key this page uses. */
  readonly isOwn: boolean;
}

/** Asks before a key ends for good. */
export function RevokeDialog({ of: key, model, isOwn }: RevokeDialogProps): JSX.Element {
  const { refusal, isDoing } = model.state.value;
  return (
    <Dialog class="prompt" labelledBy="revoke-title" onClose={() => model.close()}>
      <div class="prompt-body">
        <h2 id="revoke-title">Revoke “{titleOf(key)}”?</h2>
        <p>
          Whoever uses this key of {key.owner} is refused from now on. This cannot be undone. Its streams and what it
          spent stay on record.
        </p>
        {isOwn ? <p class="hint is-wrong">This page uses it: you will be asked for another key.</p> : null}
        {refusal === null ? null : (
          <p class="hint is-wrong" role="alert">
            {refusal}
          </p>
        )}
        <div class="prompt-actions">
          <button type="button" class="button" onClick={() => model.close()}>
            Cancel
          </button>
          <button type="button" class="button is-danger" aria-disabled={isDoing} onClick={() => void model.revoke(key)}>
            {isDoing ? "Revoking…" : "Revoke"}
          </button>
        </div>
      </div>
    </Dialog>
  );
}
