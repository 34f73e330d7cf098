/** Keys for tests. */

import type { KeyBody } from "../../src/keys/form.ts";
import { type Key, type MadeKey, readKey } from "../../src/keys/key.ts";
import type { KeysSource } from "../../src/keys/source.ts";
import { SourceError } from "../../src/relay/problem.ts";

/** What the tests take for now, Unix seconds. */
export const NOW = 1_800_000_000;

/** Returns a key as the relay would tell of it; `fields` are the relay's. */
export function keyOf(id: string, fields: Record<string, unknown> = {}): Key {
  const secrets = [{ hint: "hr_a…xyz", created_at: NOW - 100, expires_at: null }];
  const key = readKey({
    object: "key",
    id,
    owner: "search",
    role: "member",
    secrets,
    created_at: NOW - 100,
    ...fields,
  });
  if (key === null) throw new Error("no key");
  return key;
}

/** A relay's keys in memory. */
export class FakeKeys implements KeysSource {
  keys: Key[] = [];
  failure: SourceError | null = null;
  readonly calls: unknown[] = [];

  async list(): Promise<readonly Key[]> {
    this.calls.push("list");
    this.#fail();
    return this.keys;
  }

  async create(body: KeyBody): Promise<MadeKey> {
    this.calls.push(body);
    this.#fail();
    const key = keyOf(`key_${this.keys.length}`, { ...body });
    this.keys = [key, ...this.keys];
    return { key, secret: "hr_brand_new" };
  }

  async rotate(id: string, keepOldForS: number): Promise<MadeKey> {
    this.calls.push(["rotate", id, keepOldForS]);
    this.#fail();
    return { key: this.#find(id), secret: "hr_rotated" };
  }

  async revoke(id: string): Promise<Key> {
    this.calls.push(["revoke", id]);
    this.#fail();
    const revoked = { ...this.#find(id), revokedAt: NOW };
    this.keys = this.keys.map((key) => (key.id === id ? revoked : key));
    return revoked;
  }

  #find(id: string): Key {
    const key = this.keys.find((known) => known.id === id);
    if (key === undefined) throw new SourceError("not_found", "no such key");
    return key;
  }

  #fail(): void {
    if (this.failure !== null) throw this.failure;
  }
}
