import type { LLMStreamClient } from "@headrace/client";
import type { Signal } from "@preact/signals";
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Chat } from "../chat/chat.ts";
import type { Renderer } from "../chat/renderer.ts";
import type { Runs } from "../chat/runs.ts";
import type { Relay } from "../relay/relay.ts";
import type { Router } from "../router.ts";
import type { SessionKey } from "../store/key.ts";
import type { Library } from "../store/library.ts";
import type { Settings } from "../store/settings.ts";
import type { Notices } from "./notices.ts";

/** What is open beside the conversation. */
export type Panel = "none" | "sidebar" | "settings";

/** All that views work with; made once, in `main.tsx`. */
export interface Services {
  /** The page's one client: many streams on one connection. */
  readonly client: LLMStreamClient;
  readonly router: Router;
  readonly relay: Relay;
  readonly key: SessionKey;
  readonly settings: Settings;
  readonly library: Library;
  readonly runs: Runs;
  readonly chat: Chat;
  readonly renderer: Renderer;
  readonly notices: Notices;
  readonly panel: Signal<Panel>;
}

export const ServicesContext = createContext<Services | null>(null);

/** Return the services of the page around this view. */
export function useServices(): Services {
  const services = useContext(ServicesContext);
  if (services === null) throw new Error("this view stands outside the page");
  return services;
}
