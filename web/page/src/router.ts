/**
 * Addresses of the page. They stand behind the hash, since other sites may link to `/` only.
 */

import { type ReadonlySignal, type Signal, signal } from "@preact/signals";

export type Route =
  | { readonly view: "home" }
  | { readonly view: "chat"; readonly conversationId: string }
  | { readonly view: "streams"; readonly streamId: string | null }
  | { readonly view: "usage" }
  | { readonly view: "keys" };

/** The ids of conversations and streams that an address may hold. */
const ID = /^[A-Za-z0-9_-]{1,64}$/;

/** Return where `hash` leads; what is not an address of ours leads home. */
export function parseRoute(hash: string): Route {
  const [, view, id, ...more] = hash.replace(/^#/, "").split("/");
  if (more.length > 0) return { view: "home" };
  if (view === "streams" && !id) return { view: "streams", streamId: null };
  if ((view === "usage" || view === "keys") && !id) return { view };
  if (!id || !ID.test(id)) return { view: "home" };
  if (view === "streams") return { view: "streams", streamId: id };
  return view === "c" ? { view: "chat", conversationId: id } : { view: "home" };
}

/** Return the address of `route`, with its hash: what `parseRoute` reads back. */
export function formatRoute(route: Route): string {
  switch (route.view) {
    case "home":
      return "#/";
    case "chat":
      return `#/c/${route.conversationId}`;
    case "streams":
      return route.streamId === null ? "#/streams" : `#/streams/${route.streamId}`;
    case "usage":
    case "keys":
      return `#/${route.view}`;
  }
}

/** What a router needs of a window. */
export interface Addressed {
  readonly location: { hash: string };
  readonly history: Pick<History, "replaceState">;
  addEventListener(type: "hashchange", listener: () => void): void;
}

/** Where the reader is. */
export class Router {
  readonly #window: Addressed;
  readonly #route: Signal<Route>;

  constructor(window: Addressed) {
    this.#window = window;
    this.#route = signal(parseRoute(window.location.hash));
    window.addEventListener("hashchange", () => this.#read());
  }

  get route(): ReadonlySignal<Route> {
    return this.#route;
  }

  /** Go there; `replace` leaves no step back in the history. */
  go(route: Route, { replace = false } = {}): void {
    if (replace) {
      this.#window.history.replaceState(null, "", formatRoute(route));
      this.#read();
    } else {
      // Fires hashchange, which reads it.
      this.#window.location.hash = formatRoute(route);
    }
  }

  #read(): void {
    const next = parseRoute(this.#window.location.hash);
    if (formatRoute(next) !== formatRoute(this.#route.value)) this.#route.value = next;
  }
}
