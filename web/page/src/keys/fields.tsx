/** Fields of a form: each with its name, and with what helps or what is wrong beneath. */

import type { JSX } from "preact";
import type { FieldName } from "./form.ts";

export interface FieldProps {
  readonly name: FieldName;
  readonly label: string;
  readonly hint?: string;
  readonly placeholder?: string;
}

interface ValueProps extends FieldProps {
  readonly value: string;
  readonly error: string | undefined;
  onChange(name: FieldName, text: string): void;
}

export function TextField({ name, label, hint, placeholder, value, error, onChange }: ValueProps): JSX.Element {
  return (
    <div class="field">
      <label for={`key-${name}`}>{label}</label>
      <input
        id={`key-${name}`}
        type="text"
        autocomplete="off"
        spellcheck={false}
        placeholder={placeholder ?? ""}
        value={value}
        aria-invalid={error !== undefined}
        aria-describedby={`key-${name}-hint`}
        onInput={({ currentTarget }) => onChange(name, currentTarget.value)}
      />
      <Hint name={name} hint={hint} error={error} />
    </div>
  );
}

export function LongField({ name, label, hint, value, error, onChange }: ValueProps): JSX.Element {
  return (
    <div class="field">
      <label for={`key-${name}`}>{label}</label>
      <textarea
        id={`key-${name}`}
        rows={2}
        spellcheck={false}
        value={value}
        aria-invalid={error !== undefined}
        aria-describedby={`key-${name}-hint`}
        onInput={({ currentTarget }) => onChange(name, currentTarget.value)}
      />
      <Hint name={name} hint={hint} error={error} />
    </div>
  );
}

interface ChoiceProps extends ValueProps {
  readonly options: readonly (readonly [value: string, words: string])[];
}

export function Choice({ name, label, hint, value, error, options, onChange }: ChoiceProps): JSX.Element {
  return (
    <div class="field">
      <label for={`key-${name}`}>{label}</label>
      <select
        id={`key-${name}`}
        value={value}
        aria-invalid={error !== undefined}
        aria-describedby={`key-${name}-hint`}
        onChange={({ currentTarget }) => onChange(name, currentTarget.value)}
      >
        {options.map(([option, words]) => (
          <option key={option} value={option}>
            {words}
          </option>
        ))}
      </select>
      <Hint name={name} hint={hint} error={error} />
    </div>
  );
}

/** What is wrong takes the place of what helps. */
function Hint({
  name,
  hint,
  error,
}: {
  name: string;
  hint: string | undefined;
  error: string | undefined;
}): JSX.Element {
  return (
    <p class={error === undefined ? "hint" : "hint is-wrong"} id={`key-${name}-hint`}>
      {error ?? hint}
    </p>
  );
}
