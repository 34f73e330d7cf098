import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Api } from "../relay/api.ts";
import { isAdmin } from "../relay/caller.ts";
import { download } from "../shell/download.ts";
import { type Services, useServices } from "../shell/services.ts";
import { RelayUsage } from "./source.ts";
import { type UsageEnvironment, View } from "./view.tsx";
import "../styles/ledger.css";

/** What was used of the relay. */
export function UsageView(): JSX.Element {
  const services = useServices();
  const [environment] = useState(() => environmentOf(services));
  return <View environment={environment} epoch={services.key.value} />;
}

function environmentOf({ relay, key }: Services): UsageEnvironment {
  return {
    source: new RelayUsage(new Api((url, init) => fetch(url, init), key)),
    caller: relay.caller,
    identify: () => void relay.identify(),
    isAdmin: () => isAdmin(relay.caller.value),
    askForKey: () => key.ask(),
    nowMs: Date.now,
    save: download,
  };
}
