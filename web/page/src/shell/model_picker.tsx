import type { JSX } from "preact";
import { useServices } from "./services.ts";

/** The models the relay serves; what was picked stays picked. */
export function ModelPicker(): JSX.Element {
  const { relay, settings } = useServices();
  const models = relay.models.value;
  const ids = models.state === "ready" ? models.ids : [];
  const none = models.state === "loading" ? "Loading models…" : "No models";
  return (
    <select
      class="model"
      aria-label="Model"
      disabled={ids.length === 0}
      title={models.state === "failed" ? models.message : undefined}
      value={modelOf(settings.model.value, ids) ?? ""}
      onChange={(event) => {
        settings.model.value = event.currentTarget.value;
      }}
    >
      {ids.length === 0 ? <option value="">{none}</option> : null}
      {ids.map((id) => (
        <option key={id} value={id}>
          {id}
        </option>
      ))}
    </select>
  );
}

/** Return the model to ask: the one that was picked while the relay has it, else the relay's first. */
export function modelOf(picked: string | null, ids: readonly string[]): string | null {
  return picked !== null && ids.includes(picked) ? picked : (ids[0] ?? null);
}
