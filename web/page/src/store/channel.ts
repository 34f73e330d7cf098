/** What tabs tell each other; each then reads again what it shows. */
export type TabMessage =
  /** A conversation, or its messages, changed. */
  | { readonly type: "changed"; readonly conversationId: string }
  /** A conversation is gone. */
  | { readonly type: "removed"; readonly conversationId: string };

/** A way to the other tabs. */
export interface Tabs {
  post(message: TabMessage): void;
  listen(listener: (message: TabMessage) => void): void;
}

/** The other tabs of this browser; nobody where it has no BroadcastChannel. */
export function openTabs(name = "headrace"): Tabs {
  if (typeof BroadcastChannel === "undefined") return { post: () => {}, listen: () => {} };
  const channel = new BroadcastChannel(name);
  return {
    post: (message) => channel.postMessage(message),
    listen: (listener) => channel.addEventListener("message", (event) => listener(event.data as TabMessage)),
  };
}
