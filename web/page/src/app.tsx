import type { ComponentType, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ChatView } from "./chat/chat_view.tsx";
import { KeyPrompt } from "./shell/key_prompt.tsx";
import { type Services, ServicesContext, useServices } from "./shell/services.ts";
import { SettingsDrawer } from "./shell/settings_drawer.tsx";
import { Sidebar } from "./shell/sidebar.tsx";
import { Toast } from "./shell/toast.tsx";
import { TopBar } from "./shell/top_bar.tsx";

/** The whole page. */
export function App({ services }: { services: Services }): JSX.Element {
  return (
    <ServicesContext.Provider value={services}>
      <Shell />
    </ServicesContext.Provider>
  );
}

function Shell(): JSX.Element {
  const { panel, key } = useServices();
  useCloseOnEscape();
  useCloseWhenWide();
  return (
    <div class="shell">
      <Sidebar />
      <div class="page" inert={panel.value === "sidebar"}>
        <TopBar />
        <main>
          <View />
        </main>
      </div>
      {panel.value === "settings" && !key.isWanted.value ? <SettingsDrawer /> : null}
      {key.isWanted.value ? <KeyPrompt /> : null}
      <Toast />
    </div>
  );
}

function View(): JSX.Element | null {
  const { router, library } = useServices();
  const route = router.route.value;
  switch (route.view) {
    case "home": {
      const newest = library.conversations.value[0]?.id;
      return <Home newest={newest} />;
    }
    case "chat":
      return <ChatView key={route.conversationId} conversationId={route.conversationId} />;
    case "streams":
      return <Lazy key="streams" load={loadStreams} props={{ streamId: route.streamId }} />;
    case "usage":
      return <Lazy key="usage" load={loadUsage} props={{}} />;
    case "keys":
      return <Lazy key="keys" load={loadKeys} props={{}} />;
  }
}

/** The newest conversation; a new one where there is none. */
function Home({ newest }: { newest: string | undefined }): JSX.Element | null {
  const { router, chat } = useServices();
  const [fresh] = useState(() => chat.newConversationId());
  useEffect(() => {
    if (newest !== undefined) router.go({ view: "chat", conversationId: newest }, { replace: true });
  }, [newest, router]);
  return newest === undefined ? <ChatView conversationId={fresh} /> : null;
}

// These views are pages of their own: their code comes when they are first looked at.
const loadStreams = () => import("./streams/index.ts").then((module) => module.StreamsView);
const loadUsage = () => import("./usage/index.ts").then((module) => module.UsageView);
const loadKeys = () => import("./keys/index.ts").then((module) => module.KeysView);

interface LazyProps<Props> {
  /** Must be the same function as long as it is shown. */
  readonly load: () => Promise<ComponentType<Props>>;
  readonly props: Props;
}

function Lazy<Props extends object>({ load, props }: LazyProps<Props>): JSX.Element {
  const [View, setView] = useState<ComponentType<Props> | null>(null);
  const [hasFailed, setFailed] = useState(false);
  useEffect(() => {
    load().then(
      (loaded) => setView(() => loaded),
      () => setFailed(true),
    );
  }, [load]);
  if (hasFailed) return <p class="load-error">This part of the page could not be loaded. Reload to try again.</p>;
  return View === null ? <p class="load-wait">Loading…</p> : <View {...props} />;
}

function useCloseOnEscape(): void {
  const { panel } = useServices();
  useEffect(() => {
    const close = (event: KeyboardEvent) => {
      if (event.key !== "Escape" || panel.value !== "sidebar") return;
      event.preventDefault();
      panel.value = "none";
    };
    // Before the conversation's own Escape, which stops an answer.
    document.addEventListener("keydown", close, { capture: true });
    return () => document.removeEventListener("keydown", close, { capture: true });
  }, [panel]);
}

/** A window made wider shows the list beside the page, which must then not stay covered. */
function useCloseWhenWide(): void {
  const { panel } = useServices();
  useEffect(() => {
    const wide = matchMedia("(min-width: 48.01rem)");
    const changed = () => {
      if (wide.matches && panel.value === "sidebar") panel.value = "none";
    };
    wide.addEventListener("change", changed);
    return () => wide.removeEventListener("change", changed);
  }, [panel]);
}
