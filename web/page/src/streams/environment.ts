/** What components of this view are given beside their props. */

import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Surroundings } from "./poll.ts";
import type { StreamsSource } from "./source.ts";
import type { Schedule } from "./text_box.ts";

export interface StreamsEnvironment {
  readonly source: StreamsSource;
  readonly surroundings: Surroundings;
  /** Unix seconds. */
  nowS(): number;
  /** Whether the reader sees streams of all owners. */
  seesAll(): boolean;
  /** Calls before the next frame; a hidden tab has none until it is shown. */
  readonly nextFrame: Schedule;
  /** Leads the page to a hash route, such as "#/streams". */
  go(hash: string): void;
  /** Puts text on the clipboard; rejects where that is not allowed. */
  copy(text: string): Promise<void>;
}

export const EnvironmentContext = createContext<StreamsEnvironment | null>(null);

/** Returns the environment; the view sees to it that there is one. */
export function useEnvironment(): StreamsEnvironment {
  const environment = useContext(EnvironmentContext);
  if (environment === null) {
    throw new Error("rendered outside StreamsView");
  }
  return environment;
}
