import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import { Dialog } from "./dialog.tsx";
import { useServices } from "./services.ts";

/** Asks for the key that the relay wants. */
export function KeyPrompt(): JSX.Element {
  const { key, relay } = useServices();
  const input = useRef<HTMLInputElement>(null);
  const isRefused = key.value !== null;
  const close = () => key.dismiss();
  const use = (event: Event) => {
    event.preventDefault();
    const typed = input.current?.value ?? "";
    if (typed.trim() === "") return;
    key.set(typed);
    void relay.check();
  };
  return (
    <Dialog class="prompt" labelledBy="key-title" onClose={close}>
      <form class="prompt-body" onSubmit={use}>
        <h2 id="key-title">This relay asks for an API key</h2>
        <p class={isRefused ? "hint is-wrong" : "hint"} id="key-hint">
          {isRefused ? "The key in use was refused. " : ""}
          It stays in this tab, for this session only, and is sent to this relay only.
        </p>
        <label class="visually-hidden" for="api-key">
          API key
        </label>
        <input
          ref={input}
          id="api-key"
          type="password"
          autocomplete="off"
          spellcheck={false}
          aria-describedby="key-hint"
          placeholder="API key"
        />
        <div class="prompt-actions">
          <button type="button" class="button" onClick={close}>
            Not now
          </button>
          <button type="submit" class="button is-primary">
            Use this key
          </button>
        </div>
      </form>
    </Dialog>
  );
}
