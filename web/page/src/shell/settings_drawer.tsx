import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { RANGES, type SamplingKey, type Theme } from "../store/settings.ts";
import { Dialog } from "./dialog.tsx";
import { Icon } from "./icons.tsx";
import { useServices } from "./services.ts";

interface NumberFieldProps {
  readonly name: SamplingKey;
  readonly label: string;
  readonly placeholder: string;
  readonly hint: string;
}

const FIELDS: readonly NumberFieldProps[] = [
  { name: "temperature", label: "Temperature", placeholder: "0.7", hint: "0 to 2. Higher is more varied." },
  { name: "maxTokens", label: "Max tokens", placeholder: "2048", hint: "The longest answer, in tokens." },
  { name: "topP", label: "Top p", placeholder: "engine's", hint: "0 to 1. Keeps only the likeliest tokens." },
  { name: "seed", label: "Seed", placeholder: "random", hint: "The same seed, the same answer, where the engine can." },
];

const THEMES: readonly { theme: Theme; label: string }[] = [
  { theme: "system", label: "System" },
  { theme: "light", label: "Light" },
  { theme: "dark", label: "Dark" },
];

/** How questions are asked, how the page looks, which key it shows. */
export function SettingsDrawer(): JSX.Element {
  const { panel } = useServices();
  const close = () => {
    panel.value = "none";
  };
  return (
    <Dialog class="drawer" labelledBy="settings-title" onClose={close}>
      <div class="drawer-body">
        <header class="drawer-head">
          <h2 id="settings-title">Settings</h2>
          <button type="button" class="icon-button" aria-label="Close" onClick={close}>
            <Icon name="close" />
          </button>
        </header>
        <SystemPrompt />
        <fieldset class="fields">
          <legend>Sampling</legend>
          <div class="field-grid">
            {FIELDS.map((field) => (
              <NumberField key={field.name} {...field} />
            ))}
          </div>
        </fieldset>
        <ThemeChoice />
        <KeyInUse />
      </div>
    </Dialog>
  );
}

function SystemPrompt(): JSX.Element {
  const { settings } = useServices();
  return (
    <div class="field">
      <label for="system-prompt">System prompt</label>
      <textarea
        id="system-prompt"
        rows={5}
        value={settings.system.value}
        placeholder="You are a helpful assistant."
        aria-describedby="system-hint"
        onInput={(event) => {
          settings.system.value = event.currentTarget.value;
        }}
      />
      <p class="hint" id="system-hint">
        Goes ahead of every question from now on. Empty: none.
      </p>
    </div>
  );
}

function NumberField({ name, label, placeholder, hint }: NumberFieldProps): JSX.Element {
  const { settings } = useServices();
  const [isWrong, setWrong] = useState(false);
  const { min, max, step } = RANGES[name];
  return (
    <div class="field">
      <label for={`sampling-${name}`}>{label}</label>
      <input
        id={`sampling-${name}`}
        type="number"
        inputMode="decimal"
        min={min}
        max={max}
        step={step}
        placeholder={placeholder}
        defaultValue={settings.sampling.value[name]?.toString() ?? ""}
        aria-invalid={isWrong}
        aria-describedby={`sampling-${name}-hint`}
        onInput={({ currentTarget }) => {
          setWrong(currentTarget.validity.badInput || !settings.setSampling(name, currentTarget.value));
        }}
      />
      <p class={isWrong ? "hint is-wrong" : "hint"} id={`sampling-${name}-hint`}>
        {hint}
      </p>
    </div>
  );
}

function ThemeChoice(): JSX.Element {
  const { settings } = useServices();
  return (
    <fieldset class="fields">
      <legend>Theme</legend>
      <div class="segments">
        {THEMES.map(({ theme, label }) => (
          <label key={theme}>
            <input
              type="radio"
              name="theme"
              checked={settings.theme.value === theme}
              onChange={() => {
                settings.theme.value = theme;
              }}
            />
            <span>{label}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

function KeyInUse(): JSX.Element | null {
  const { key, relay } = useServices();
  const masked = key.masked.value;
  const forget = () => {
    key.forget();
    void relay.check();
  };
  return (
    <div class="field">
      <span class="field-name">API key</span>
      {masked === null ? (
        <p class="hint">
          None in use.{" "}
          <button
            type="button"
            class="link-button"
            onClick={() => {
              key.isWanted.value = true;
            }}
          >
            Enter a key
          </button>
        </p>
      ) : (
        <p class="key-in-use">
          <code>{masked}</code>
          <button type="button" class="button" onClick={forget}>
            Forget
          </button>
        </p>
      )}
    </div>
  );
}
