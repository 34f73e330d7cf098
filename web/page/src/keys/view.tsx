/** The Keys view: who may use the relay, and how much of it. */

import type { ReadonlySignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type Caller, isAdmin } from "../relay/caller.ts";
import { ProblemNotice } from "../shell/problem_notice.tsx";
import { CreateDialog } from "./create_dialog.tsx";
import { AdminsOnly, NoKeysYet } from "./explained.tsx";
import { isGood, MAX_KEYS, type MadeKey } from "./key.ts";
import { KeysModel } from "./keys_model.ts";
import { MadeDialog } from "./made_dialog.tsx";
import { RevokeDialog } from "./revoke_dialog.tsx";
import { RotateDialog } from "./rotate_dialog.tsx";
import type { KeysSource } from "./source.ts";
import { KeysTable } from "./table.tsx";

export interface KeysEnvironment {
  readonly source: KeysSource;
  readonly caller: ReadonlySignal<Caller | null>;
  /** Unix seconds. */
  nowS(): number;
  /** Resolves to whether it is on the clipboard. */
  copy(text: string): Promise<boolean>;
  /** Uses another key from now on. */
  useKey(secret: string): void;
  /** Asks the reader for a key. */
  askForKey(): void;
}

interface ViewProps {
  readonly environment: KeysEnvironment;
  /** Changes with the key in use: everything is asked anew then. */
  readonly epoch: unknown;
}

export function View({ environment, epoch }: ViewProps): JSX.Element {
  const caller = environment.caller.value;
  return (
    <section class="ledger" aria-labelledby="keys-title">
      {caller !== null && !caller.keysRequired ? (
        <Explained>
          <NoKeysYet />
        </Explained>
      ) : caller !== null && !isAdmin(caller) ? (
        <Explained>
          <AdminsOnly owner={caller.owner} />
        </Explained>
      ) : (
        <Managed environment={environment} epoch={epoch} ownId={caller?.keyId ?? null} />
      )}
    </section>
  );
}

function Explained({ children }: { children: JSX.Element }): JSX.Element {
  return (
    <>
      <header class="ledger-head">
        <h1 id="keys-title">Keys</h1>
      </header>
      {children}
    </>
  );
}

function Managed({ environment, epoch, ownId }: ViewProps & { ownId: string | null }): JSX.Element {
  const [model] = useState(() => new KeysModel(environment.source, (made) => adopt(environment, made)));
  const [showsEnded, setShowsEnded] = useState(false);
  const { keys, problem, isAsking } = model.state.value;
  const nowS = environment.nowS();
  // Another key may see other keys.
  useEffect(() => {
    void model.load();
    return () => model.stop();
  }, [model, epoch]);
  const shown = keys?.filter((key) => showsEnded || isGood(key, nowS)) ?? [];
  const ended = (keys?.length ?? 0) - (keys?.filter((key) => isGood(key, nowS)).length ?? 0);
  return (
    <>
      <header class="ledger-head">
        <h1 id="keys-title">Keys</h1>
        <p class="hint" role="status">
          {keys === null ? (isAsking ? "Loading…" : "") : countWords(keys.length - ended, ended)}
        </p>
        <div class="ledger-acts">
          {ended === 0 ? null : (
            <label class="keys-ended">
              <input type="checkbox" checked={showsEnded} onChange={() => setShowsEnded(!showsEnded)} />
              Show revoked and expired
            </label>
          )}
          <button type="button" class="button is-primary" onClick={() => model.open({ dialog: "create" })}>
            New key
          </button>
        </div>
      </header>
      {problem === null ? null : (
        <ProblemNotice problem={problem} onRetry={() => void model.load()} onKey={environment.askForKey} />
      )}
      {keys?.length === MAX_KEYS ? <p class="hint">Only the newest {MAX_KEYS} keys are listed.</p> : null}
      {shown.length === 0 ? null : <KeysTable keys={shown} model={model} ownId={ownId} nowS={nowS} />}
      <OpenDialog model={model} environment={environment} ownId={ownId} />
    </>
  );
}

/** Goes on with the new secret of the key this page uses: the old one may have ended just now. */
function adopt({ caller, useKey }: KeysEnvironment, { key, secret }: MadeKey): void {
  if (key.id === caller.peek()?.keyId) useKey(secret);
}

interface OpenDialogProps {
  readonly model: KeysModel;
  readonly environment: KeysEnvironment;
  readonly ownId: string | null;
}

function OpenDialog({ model, environment, ownId }: OpenDialogProps): JSX.Element | null {
  const { open } = model.state.value;
  switch (open?.dialog) {
    case "create":
      return <CreateDialog model={model} />;
    case "rotate":
      return <RotateDialog of={open.key} model={model} />;
    case "revoke":
      return <RevokeDialog of={open.key} model={model} isOwn={open.key.id === ownId} />;
    case "made":
      return (
        <MadeDialog
          made={open.made}
          isRotated={open.isRotated}
          isOwn={open.isRotated && open.made.key.id === ownId}
          copy={environment.copy}
          onClose={() => model.close()}
        />
      );
    default:
      return null;
  }
}

function countWords(good: number, ended: number): string {
  return `${good} good${ended === 0 ? "" : `, ${ended} revoked or expired`}`;
}
