/** Whether the device says that it has a network; the same in page and Worker. */
export interface Network {
  isOnline(): boolean;
  /** Calls `run` when the network comes back; returns what ends that. */
  onOnline(run: () => void): () => void;
}

/** The platform's; always online where it does not say. */
export const systemNetwork: Network = {
  isOnline: () => globalThis.navigator?.onLine !== false,
  onOnline(run) {
    if (typeof globalThis.addEventListener !== "function") return () => {};
    globalThis.addEventListener("online", run);
    return () => globalThis.removeEventListener("online", run);
  },
};
