import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import { ExportMenu } from "../chat/export_menu.tsx";
import { formatRoute, type Route } from "../router.ts";
import { Icon } from "./icons.tsx";
import { ModelPicker } from "./model_picker.tsx";
import { useServices } from "./services.ts";

export function TopBar(): JSX.Element {
  const { panel, router } = useServices();
  const route = router.route.value;
  const isStreams = route.view === "streams";
  const lastChat = useRef<Route>({ view: "home" });
  if (!isStreams) lastChat.current = route;
  return (
    <header class="top-bar">
      <button
        type="button"
        class="icon-button only-narrow"
        aria-label="Conversations"
        aria-expanded={panel.value === "sidebar"}
        aria-controls="sidebar"
        onClick={() => {
          panel.value = "sidebar";
        }}
      >
        <Icon name="menu" />
      </button>
      <nav class="views" aria-label="Views">
        <a class="view-link" href={formatRoute(lastChat.current)} aria-current={isStreams ? undefined : "page"}>
          Chat
        </a>
        <a
          class="view-link"
          href={formatRoute({ view: "streams", streamId: null })}
          aria-current={isStreams ? "page" : undefined}
        >
          Streams
        </a>
      </nav>
      <div class="top-bar-tools">
        {isStreams ? null : <ModelPicker />}
        {route.view === "chat" ? <ExportMenu conversationId={route.conversationId} /> : null}
        <button
          type="button"
          class="icon-button"
          aria-label="Settings"
          title="Settings"
          onClick={() => {
            panel.value = "settings";
          }}
        >
          <Icon name="settings" />
        </button>
      </div>
    </header>
  );
}
