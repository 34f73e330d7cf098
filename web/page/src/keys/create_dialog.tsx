import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Dialog } from "../shell/dialog.tsx";
import { Choice, type FieldProps, LongField, TextField } from "./fields.tsx";
import { EMPTY_FORM, EXPIRIES, type FieldName, type KeyForm } from "./form.ts";
import type { KeysModel } from "./keys_model.ts";

const ROLES = [
  ["member", "Member: its own streams and usage"],
  ["admin", "Admin: everybody's, and keys"],
] as const;

const WHO: readonly FieldProps[] = [
  { name: "owner", label: "Owner", hint: "Whose streams and costs they are: a person, a team, a program." },
  { name: "name", label: "Name", placeholder: "laptop", hint: "To tell this key from others." },
];

const LIMITS: readonly FieldProps[] = [
  { name: "requests_per_minute", label: "Requests a minute" },
  { name: "tokens_per_minute", label: "Tokens a minute" },
  { name: "concurrent_streams", label: "Streams at once" },
  { name: "max_prompt_tokens", label: "Tokens a prompt" },
  { name: "max_output_tokens", label: "Tokens an answer" },
];

const BUDGET: readonly FieldProps[] = [
  { name: "day_usd", label: "A day, in US$" },
  { name: "month_usd", label: "A month, in US$" },
];

/** Asks what a new key is to be. */
export function CreateDialog({ model }: { model: KeysModel }): JSX.Element {
  const { errors, refusal, isDoing } = model.state.value;
  const [form, setForm] = useState<KeyForm>(EMPTY_FORM);
  const root = useRef<HTMLFormElement>(null);
  useEffect(() => {
    root.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
  }, [errors]);
  const change = (name: FieldName, text: string) => setForm((before) => ({ ...before, [name]: text }));
  const bound = <Name extends FieldName>(name: Name) => ({
    name,
    value: form[name],
    error: errors[name],
    onChange: change,
  });
  const text = (props: FieldProps) => <TextField key={props.name} {...props} {...bound(props.name)} />;
  const send = (event: Event) => {
    event.preventDefault();
    void model.create(form);
  };
  return (
    <Dialog class="prompt keys-dialog" labelledBy="create-title" onClose={() => model.close()}>
      <form class="prompt-body" ref={root} onSubmit={send} noValidate>
        <h2 id="create-title">New key</h2>
        {WHO.map(text)}
        <Choice {...bound("role")} label="Role" options={ROLES} />
        <Choice {...bound("expires_in")} label="Expires" options={EXPIRIES} />
        <fieldset class="fields">
          <legend>Budget</legend>
          <div class="field-grid">{BUDGET.map(text)}</div>
        </fieldset>
        <fieldset class="fields">
          <legend>Limits</legend>
          <div class="field-grid">{LIMITS.map(text)}</div>
        </fieldset>
        <LongField {...bound("models")} label="Models" hint="One a line. None: all." />
        <LongField {...bound("tags")} label="Tags" hint="name=value, one a line: what its costs are told apart by." />
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
            {isDoing ? "Making…" : "Make the key"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
