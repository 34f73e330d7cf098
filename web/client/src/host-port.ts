/** The page's end of the line to the host of its streams: a Worker, or the page's own thread where there can be none. */

import type { Clock } from "./clock.ts";
import type { Host, Platform } from "./host.ts";
import { isObject } from "./json.ts";
import type { ToHost, ToPage } from "./messages.ts";
import { type Port, portPair, type WorkerLike } from "./port.ts";

/** How long a Worker may take to begin. */
const START_MS = 5000;

/** Returns a host on this thread. Its code is loaded now: pages whose Worker works never need it. */
export function localHost(platform: Partial<Platform>): Port<ToPage, ToHost> {
  return new LocalHost(platform);
}

class LocalHost implements Port<ToPage, ToHost> {
  onMessage: (message: ToPage) => void = () => {};
  #said: ToHost[] = [];
  #page: Port<ToPage, ToHost> | null = null;
  #host: Host | null = null;
  #isClosed = false;

  constructor(platform: Partial<Platform>) {
    void this.#load(platform);
  }

  post(message: ToHost): void {
    if (this.#page === null) this.#said.push(message);
    else this.#page.post(message);
  }

  close(): void {
    this.#isClosed = true;
    this.#page?.close();
    this.#host?.close();
  }

  async #load(platform: Partial<Platform>): Promise<void> {
    const [{ Host }, { platformOf }] = await Promise.all([import("./host.ts"), import("./platform.ts")]);
    if (this.#isClosed) return;
    const [page, far] = portPair<ToPage, ToHost>();
    page.onMessage = (message) => this.onMessage(message);
    this.#page = page;
    this.#host = new Host(far, platformOf(platform));
    for (const message of this.#said) page.post(message);
    this.#said = [];
  }
}

/**
 * Returns a host in a Worker. A Worker that cannot be made, or fails before it is ready (a strict CSP, a missing file, an old
 * browser), is replaced by a host on this thread, which gets all that was said until then.
 */
export function workerHost(
  create: () => WorkerLike,
  fallback: () => Port<ToPage, ToHost>,
  clock: Clock,
): Port<ToPage, ToHost> {
  let worker: WorkerLike;
  try {
    worker = create();
  } catch {
    return fallback();
  }
  return new WorkerHost(worker, fallback, clock);
}

class WorkerHost implements Port<ToPage, ToHost> {
  onMessage: (message: ToPage) => void = () => {};
  #worker: WorkerLike | null;
  #local: Port<ToPage, ToHost> | null = null;
  readonly #fallback: () => Port<ToPage, ToHost>;
  /** What was said before the Worker was ready; null since it is. */
  #said: ToHost[] | null = [];
  readonly #callOff: () => void;

  constructor(worker: WorkerLike, fallback: () => Port<ToPage, ToHost>, clock: Clock) {
    this.#worker = worker;
    this.#fallback = fallback;
    this.#callOff = clock.after(START_MS, () => this.#replace());
    worker.addEventListener("message", (event) => this.#receive("data" in event ? event.data : null));
    worker.addEventListener("error", () => this.#replace());
  }

  post(message: ToHost): void {
    this.#said?.push(message);
    if (this.#local !== null) this.#local.post(message);
    else this.#worker?.postMessage(message);
  }

  close(): void {
    this.#callOff();
    this.#worker?.terminate();
    this.#worker = null;
    this.#local?.close();
  }

  #receive(data: unknown): void {
    if (!isMessage(data)) return;
    if (data.type === "ready") {
      this.#said = null;
      this.#callOff();
    }
    this.onMessage(data);
  }

  /** Once it is ready, an error of the Worker is one of a single stream, which says so itself. */
  #replace(): void {
    if (this.#said === null || this.#worker === null) return;
    this.#callOff();
    this.#worker.terminate();
    this.#worker = null;
    this.#local = this.#fallback();
    this.#local.onMessage = (message) => this.onMessage(message);
    for (const message of this.#said) this.#local.post(message);
    this.#said = null;
  }
}

/** The Worker is of this very package: what has a type is one of its messages. */
function isMessage(data: unknown): data is ToPage {
  return isObject(data) && typeof data.type === "string";
}
