import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import { ExportMenu } from "../chat/export_menu.tsx";
import { managesKeys } from "../relay/caller.ts";
import { formatRoute, type Route } from "../router.ts";
import { Icon } from "./icons.tsx";
import { ModelPicker } from "./model_picker.tsx";
import { useServices } from "./services.ts";

export function TopBar(): JSX.Element {
  const { panel, router } = useServices();
  const route = router.route.value;
  const isChat = isOfChat(route);
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
      <Views route={route} />
      <div class="top-bar-tools">
        {isChat ? <ModelPicker /> : null}
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

/** The page's views. Beside a conversation a phone has room for two; settings lead to the others. */
function Views({ route }: { route: Route }): JSX.Element {
  const { relay } = useServices();
  const lastChat = useRef<Route>({ view: "home" });
  const isChat = isOfChat(route);
  if (isChat) lastChat.current = route;
  const link = (name: string, to: Route, isCurrent: boolean) => (
    <a class="view-link" href={formatRoute(to)} aria-current={isCurrent ? "page" : undefined}>
      {name}
    </a>
  );
  return (
    <nav class={isChat ? "views is-beside-chat" : "views"} aria-label="Views">
      {link("Chat", lastChat.current, isChat)}
      {link("Streams", { view: "streams", streamId: null }, route.view === "streams")}
      {link("Usage", { view: "usage" }, route.view === "usage")}
      {managesKeys(relay.caller.value) ? link("Keys", { view: "keys" }, route.view === "keys") : null}
    </nav>
  );
}

function isOfChat({ view }: Route): boolean {
  return view === "home" || view === "chat";
}
