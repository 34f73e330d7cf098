import { LLMStreamClient, STREAM_CONFIG } from "@headrace/client";
import { effect, signal } from "@preact/signals";
import { render } from "preact";
import { App } from "./app.tsx";
import { Chat } from "./chat/chat.ts";
import { Renderer } from "./chat/renderer.ts";
import { Runs } from "./chat/runs.ts";
import { Relay } from "./relay/relay.ts";
import { type Route, Router } from "./router.ts";
import { modelOf } from "./shell/model_picker.tsx";
import { Notices } from "./shell/notices.ts";
import type { Panel, Services } from "./shell/services.ts";
import { openTabs } from "./store/channel.ts";
import { SessionKey } from "./store/key.ts";
import { Library } from "./store/library.ts";
import { openRecords } from "./store/open.ts";
import { Settings } from "./store/settings.ts";
import type { ConversationRecord } from "./store/types.ts";
import "./styles/theme.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/chat.css";

/** As long as the relay lets a stream linger: later there is nothing left to resume, only an end to be told. */
const RESUME_FOR_MS = 30_000;

/** Everything is made here, once, and passed down. */
async function start(root: HTMLElement): Promise<void> {
  const settings = new Settings(storageOr(() => window.localStorage));
  effect(() => applyTheme(settings.theme.value));
  const tabs = openTabs();
  const services = compose(settings, new Library(await openRecords(), tabs), tabs);
  await services.library.refresh();
  render(<App services={services} />, root);
  void services.chat.begin();
  void services.relay.check();
}

function compose(settings: Settings, library: Library, tabs: ReturnType<typeof openTabs>): Services {
  const key = new SessionKey(storageOr(() => window.sessionStorage));
  const relay = new Relay(
    { fetch: (...call) => fetch(...call), now: Date.now, after, isOnline: () => navigator.onLine },
    key,
  );
  const client = new LLMStreamClient({
    transport: "websocket",
    apiKey: () => key.value,
    onUnmount: "keep",
    resumeFor: RESUME_FOR_MS,
    config: { metrics: { report: true } },
  });
  const runs: Runs = new Runs({
    client,
    endpoint: STREAM_CONFIG.endpoint,
    save: (record) => library.saveAnswer(record),
    onEnd: (answer) => chat.ended(answer),
    onUnauthorized: () => key.refused(key.value),
    onLost: () => void relay.check(),
    record: (streamId) => relay.stream(streamId),
    after,
  });
  const manner = () => ({
    model: modelOf(settings.model.value, idsOf(relay)),
    system: settings.system.value,
    sampling: settings.sampling.value,
  });
  const chat = new Chat({ library, runs, random: crypto, now: Date.now, manner });
  const services: Services = {
    client,
    router: new Router(window),
    relay,
    key,
    settings,
    library,
    runs,
    chat,
    renderer: new Renderer(() => import("./chat/markdown.ts")),
    notices: new Notices(after),
    panel: signal<Panel>("none"),
  };
  listen(services, tabs);
  return services;
}

function listen({ relay, runs, chat, router, library }: Services, tabs: ReturnType<typeof openTabs>): void {
  tabs.listen((message) => {
    if (message.type === "removed") void chat.removedElsewhere(message.conversationId);
    else void chat.changedElsewhere(message.conversationId);
  });
  window.addEventListener("online", () => relay.networkChanged());
  window.addEventListener("offline", () => relay.networkChanged());
  // The last chance to keep what has come: mobile browsers end hidden tabs without another word.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") runs.flush();
  });
  window.addEventListener("pagehide", () => runs.flush());
  effect(() => {
    document.title = titleFor(router.route.value, library.conversations.value);
  });
  let wasAway = false;
  effect(() => {
    const { state } = relay.reach.value;
    const models = relay.models.value;
    const wantsKey = models.state === "failed" && models.wantsKey;
    // Without a key it is as good as away.
    if (state === "unreachable" || state === "offline" || wantsKey) wasAway = true;
    if (state !== "reachable" || wantsKey || !wasAway) return;
    wasAway = false;
    chat.relayIsBack();
  });
}

const TITLES: Readonly<Record<string, string>> = { streams: "Streams", usage: "Usage", keys: "Keys" };

function titleFor(route: Route, conversations: readonly ConversationRecord[]): string {
  if (route.view in TITLES) return `${TITLES[route.view]} - Headrace`;
  const title = route.view === "chat" ? conversations.find(({ id }) => id === route.conversationId)?.title : undefined;
  return title === undefined ? "Headrace" : `${title} - Headrace`;
}

function idsOf(relay: Relay): readonly string[] {
  const models = relay.models.value;
  return models.state === "ready" ? models.ids : [];
}

function applyTheme(theme: string): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function after(ms: number, call: () => void): () => void {
  const timer = setTimeout(call, ms);
  return () => clearTimeout(timer);
}

/** Where storage is denied, even asking for it throws. */
function storageOr(get: () => Storage): Storage | null {
  try {
    return get();
  } catch {
    return null;
  }
}

const root = document.getElementById("root");
if (root !== null) void start(root);
