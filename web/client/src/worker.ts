/** The entry of the Worker: network, decoding and sessions of all streams of one client. Importing it elsewhere does nothing. */

import { Host } from "./host.ts";
import type { ToHost, ToPage } from "./messages.ts";
import { platformOf } from "./platform.ts";
import type { Port } from "./port.ts";

/** The part of a Worker's global scope that is used (`lib.dom` does not know it). */
interface WorkerScope {
  postMessage(message: unknown): void;
  onmessage: ((event: { data: ToHost }) => void) | null;
}

function portOf(scope: WorkerScope): Port<ToHost, ToPage> {
  const port: Port<ToHost, ToPage> = {
    post: (message) => scope.postMessage(message),
    onMessage: () => {},
    close: () => {},
  };
  scope.onmessage = ({ data }) => port.onMessage(data);
  return port;
}

const isWorker = "WorkerGlobalScope" in globalThis && typeof globalThis.postMessage === "function";
if (isWorker) new Host(portOf(globalThis as unknown as WorkerScope), platformOf());
