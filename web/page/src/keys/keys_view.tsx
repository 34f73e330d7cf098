import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { copyText } from "../chat/clipboard.ts";
import { Api } from "../relay/api.ts";
import { type Services, useServices } from "../shell/services.ts";
import { RelayKeys } from "./source.ts";
import { type KeysEnvironment, View } from "./view.tsx";
import "../styles/ledger.css";

/** The relay's client keys. */
export function KeysView(): JSX.Element {
  const services = useServices();
  const [environment] = useState(() => environmentOf(services));
  return <View environment={environment} epoch={services.key.value} />;
}

function environmentOf({ relay, key }: Services): KeysEnvironment {
  return {
    source: new RelayKeys(new Api((url, init) => fetch(url, init), key)),
    caller: relay.caller,
    nowS: () => Date.now() / 1000,
    copy: copyText,
    useKey: (secret) => {
      key.set(secret);
      void relay.check();
    },
    askForKey: () => key.ask(),
  };
}
