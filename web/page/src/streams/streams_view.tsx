import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { isAdmin } from "../relay/caller.ts";
import type { Router } from "../router.ts";
import { parseRoute } from "../router.ts";
import { useServices } from "../shell/services.ts";
import type { StreamsEnvironment } from "./environment.ts";
import { pageSurroundings } from "./poll.ts";
import { RelaySource } from "./relay_source.ts";
import type { StreamsServices } from "./services.ts";
import { View } from "./view.tsx";
import "../styles/streams.css";

/** The relay's streams (`streamId` null), or one of them. */
export function StreamsView({ streamId }: { streamId: string | null }): JSX.Element {
  const { client, key, router, relay } = useServices();
  const seesAll = () => isAdmin(relay.caller.value);
  const [environment] = useState(() => environmentOf({ client, key }, router, seesAll));
  return <View streamId={streamId} environment={environment} />;
}

function environmentOf(services: StreamsServices, router: Router, seesAll: () => boolean): StreamsEnvironment {
  return {
    source: new RelaySource(services, (url, init) => fetch(url, init)),
    surroundings: pageSurroundings(),
    nowS: () => Date.now() / 1000,
    seesAll,
    nextFrame(draw) {
      const frame = requestAnimationFrame(draw);
      return () => cancelAnimationFrame(frame);
    },
    go: (hash) => router.go(parseRoute(hash)),
    copy: (text) => navigator.clipboard.writeText(text),
  };
}
