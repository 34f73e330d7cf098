/** What the Keys view needs of the relay. */

import type { Api } from "../relay/api.ts";
import { SourceError } from "../relay/problem.ts";
import type { KeyBody } from "./form.ts";
import { type Key, type MadeKey, readKey, readKeys, readMadeKey } from "./key.ts";

/** Its calls reject with a `SourceError`, save when they were aborted. */
export interface KeysSource {
  list(signal: AbortSignal): Promise<readonly Key[]>;
  create(body: KeyBody): Promise<MadeKey>;
  /** Gives a key a new secret; the old one is good for so many seconds more. */
  rotate(id: string, keepOldForS: number): Promise<MadeKey>;
  revoke(id: string): Promise<Key>;
}

export class RelayKeys implements KeysSource {
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  async list(signal: AbortSignal): Promise<readonly Key[]> {
    return told(readKeys(await this.#api.json("GET", "/v1/keys", { signal })));
  }

  async create(body: KeyBody): Promise<MadeKey> {
    return told(readMadeKey(await this.#api.json("POST", "/v1/keys", { body })));
  }

  async rotate(id: string, keepOldForS: number): Promise<MadeKey> {
    const body = { keep_old_for: keepOldForS };
    return told(readMadeKey(await this.#api.json("POST", `${pathOf(id)}/rotate`, { body })));
  }

  async revoke(id: string): Promise<Key> {
    return told(readKey(await this.#api.json("DELETE", pathOf(id))));
  }
}

function pathOf(id: string): string {
  return `/v1/keys/${encodeURIComponent(id)}`;
}

function told<Found>(found: Found | null): Found {
  if (found === null) throw new SourceError("refused", "the relay answered something that is no key");
  return found;
}
