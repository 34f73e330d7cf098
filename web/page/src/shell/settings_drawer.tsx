import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { type Caller, managesKeys } from "../relay/caller.ts";
import { formatRoute } from "../router.ts";
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
        <Account />
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

/** Who the relay takes this page for, by which key, and what follows from it. */
function Account(): JSX.Element {
  const { relay, key } = useServices();
  const caller = relay.caller.value;
  const isOpenToAll = caller?.keysRequired === false && key.value === null;
  return (
    <section class="field" aria-labelledby="account-title">
      <h3 class="field-name" id="account-title">
        API key
      </h3>
      {caller === null ? null : <p class="hint">{whoIs(caller)}</p>}
      {isOpenToAll ? null : <KeyInUse />}
      <ViewLinks caller={caller} />
    </section>
  );
}

function KeyInUse(): JSX.Element {
  const { key, relay } = useServices();
  const masked = key.masked.value;
  const forget = () => {
    key.forget();
    void relay.check();
  };
  if (masked !== null) {
    return (
      <p class="key-in-use">
        <code>{masked}</code>
        <button type="button" class="button" onClick={forget}>
          Forget this key
        </button>
      </p>
    );
  }
  return (
    <p class="hint">
      None in use.{" "}
      <button type="button" class="link-button" onClick={() => key.ask()}>
        Enter a key
      </button>
    </p>
  );
}

/** Usage and keys, where a narrow top bar has no room for them. */
function ViewLinks({ caller }: { caller: Caller | null }): JSX.Element {
  const { panel } = useServices();
  const close = () => {
    panel.value = "none";
  };
  const isAnybody = caller?.keysRequired === false;
  return (
    <p class="caller-links">
      <a href={formatRoute({ view: "usage" })} onClick={close}>
        Usage
      </a>
      {isAnybody || managesKeys(caller) ? (
        <a href={formatRoute({ view: "keys" })} onClick={close}>
          {isAnybody ? "How to make keys" : "Keys"}
        </a>
      ) : null}
    </p>
  );
}

/** Return who one is in a sentence: `"You are search (admin), by the key “laptop”."` */
function whoIs({ owner, role, keyName, keysRequired }: Caller): string {
  if (!keysRequired) return "This relay has no keys yet: whoever reaches it may do everything.";
  return `You are ${owner} (${role})${keyName === null ? "" : `, by the key “${keyName}”`}.`;
}
