import type { JSX } from "preact";
import { goodSecrets, isGood, type Key, stateOf } from "./key.ts";
import type { KeysModel } from "./keys_model.ts";
import { endOf, limitLines, momentOf, STATE_WORDS, spentLines, titleOf } from "./wording.ts";

const HEADS = ["Key", "Owner", "State", "Created", "Spent", "Limits and tags"] as const;

interface KeysTableProps {
  readonly keys: readonly Key[];
  readonly model: KeysModel;
  /** The key this page uses. */
  readonly ownId: string | null;
  readonly nowS: number;
}

export function KeysTable({ keys, ...props }: KeysTableProps): JSX.Element {
  return (
    <table class="ledger-table keys-table" aria-label="Keys">
      <thead>
        <tr>
          {HEADS.map((head) => (
            <th scope="col" key={head}>
              {head}
            </th>
          ))}
          <th scope="col">
            <span class="visually-hidden">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {keys.map((key) => (
          <Row key={key.id} of={key} {...props} />
        ))}
      </tbody>
    </table>
  );
}

interface RowProps extends Omit<KeysTableProps, "keys"> {
  readonly of: Key;
}

function Row({ of: key, model, ownId, nowS }: RowProps): JSX.Element {
  const state = stateOf(key, nowS);
  const secrets = goodSecrets(key, nowS);
  const hints = (secrets.length > 0 ? secrets : key.secrets).map(({ hint }) => hint);
  return (
    <tr data-key={key.id} data-state={state}>
      <th scope="row">
        {titleOf(key)}
        {key.id === ownId ? <span class="keys-own">in use here</span> : null}
        {hints.map((hint) => (
          <code key={hint}>{hint}</code>
        ))}
      </th>
      <td data-label="Owner">
        {key.owner}
        <small>{key.role}</small>
      </td>
      <td data-label="State">
        <span class="keys-state">{STATE_WORDS[state]}</span>
        <small>{endOf(key, state, nowS)}</small>
      </td>
      <td data-label="Created">{key.createdAt === null ? "unknown" : momentOf(key.createdAt, nowS)}</td>
      <td data-label="Spent">
        <Lines lines={spentLines(key)} />
      </td>
      <td data-label="Limits and tags">
        <Lines lines={boundsOf(key)} />
      </td>
      <td class="keys-acts">{isGood(key, nowS) ? <Actions of={key} model={model} /> : null}</td>
    </tr>
  );
}

function Actions({ of: key, model }: { of: Key; model: KeysModel }): JSX.Element {
  const name = titleOf(key);
  return (
    <>
      <button
        type="button"
        class="button"
        aria-label={`Rotate ${name}`}
        onClick={() => model.open({ dialog: "rotate", key })}
      >
        Rotate
      </button>
      <button
        type="button"
        class="button is-danger"
        aria-label={`Revoke ${name}`}
        onClick={() => model.open({ dialog: "revoke", key })}
      >
        Revoke
      </button>
    </>
  );
}

/** What bounds a key, and what its requests are tagged with. */
function boundsOf(key: Key): string[] {
  const models = key.models === null ? [] : [`only ${key.models.join(", ") || "no model at all"}`];
  const tags = key.tags.map(([name, value]) => `${name}=${value}`);
  const lines = [...limitLines(key), ...models, ...tags];
  return lines.length === 0 ? ["none of its own"] : lines;
}

function Lines({ lines }: { lines: readonly string[] }): JSX.Element {
  return (
    <ul>
      {lines.map((line) => (
        <li key={line}>{line}</li>
      ))}
    </ul>
  );
}
