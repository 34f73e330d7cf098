import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Dialog } from "../shell/dialog.tsx";
import type { MadeKey } from "./key.ts";
import { titleOf } from "./wording.ts";

interface MadeDialogProps {
  readonly made: MadeKey;
  readonly isRotated: boolean;
  /** The page uses this key itself, and has gone over to the new secret. */
  readonly isOwn: boolean;
  /** Resolves to whether it is on the clipboard. */
  copy(text: string): Promise<boolean>;
  onClose(): void;
}

/** Shows a new secret, this once. A stray press or Escape does not lose it before it was copied. */
export function MadeDialog({ made, isRotated, isOwn, copy, onClose }: MadeDialogProps): JSX.Element {
  const [isCopied, setCopied] = useState(false);
  const [note, setNote] = useState("");
  const leave = () => {
    if (isCopied) onClose();
    else setNote("It is not copied yet. Copy it, or press Done to close without.");
  };
  const take = async () => {
    const isThere = await copy(made.secret);
    setCopied(isThere);
    setNote(isThere ? "Copied." : "This browser does not let the page copy: select the key and copy it yourself.");
  };
  return (
    <Dialog class="prompt keys-dialog" labelledBy="made-title" onClose={leave}>
      <div class="prompt-body">
        <h2 id="made-title">{isRotated ? `The new key of “${titleOf(made.key)}”` : "The new key"}</h2>
        <p>
          Copy it now: it is shown <strong>only this once</strong>. The relay keeps no copy of it, so nobody can look it
          up later.{isOwn ? " This page uses it already." : ""}
        </p>
        <label class="visually-hidden" for="made-key">
          Key
        </label>
        <input
          id="made-key"
          class="keys-secret"
          type="text"
          readOnly
          value={made.secret}
          onFocus={({ currentTarget }) => currentTarget.select()}
        />
        <p class="hint" role="status">
          {note}
        </p>
        <div class="prompt-actions">
          <button type="button" class="button is-primary" onClick={() => void take()}>
            {isCopied ? "Copied" : "Copy the key"}
          </button>
          <button type="button" class="button" onClick={onClose}>
            Done
          </button>
        </div>
      </div>
    </Dialog>
  );
}
