/** A client key as `GET /v1/keys` tells of it. The key itself is never told again after it was made. */

import { type DayAndMonth, dollarsOf, type Role } from "../relay/caller.ts";
import { isObject, numberOf } from "../relay/json.ts";

export const LIMIT_NAMES = [
  "requests_per_minute",
  "tokens_per_minute",
  "concurrent_streams",
  "max_prompt_tokens",
  "max_output_tokens",
] as const;

export type LimitName = (typeof LIMIT_NAMES)[number];

/** One secret of a key: what begins and ends it. Times are Unix seconds. */
export interface Secret {
  readonly hint: string;
  readonly createdAt: number | null;
  /** When a rotation ends its use; null: with the key. */
  readonly expiresAt: number | null;
}

export interface Key {
  readonly id: string;
  readonly name: string;
  readonly owner: string;
  readonly role: Role;
  /** Null: all models. */
  readonly models: readonly string[] | null;
  /** Those that are set. */
  readonly limits: Readonly<Partial<Record<LimitName, number>>>;
  readonly budget: DayAndMonth;
  readonly spent: DayAndMonth;
  readonly tags: readonly (readonly [name: string, value: string])[];
  readonly secrets: readonly Secret[];
  readonly createdAt: number | null;
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
}

/** A key that was just made, or rotated: the only time that its secret is told. */
export interface MadeKey {
  readonly key: Key;
  readonly secret: string;
}

export type KeyState = "active" | "rotating" | "expired" | "revoked";

/** Most keys that are listed. */
export const MAX_KEYS = 1000;

/** Return how a key stands at a time in Unix seconds. */
export function stateOf({ revokedAt, expiresAt, secrets }: Key, nowS: number): KeyState {
  if (revokedAt !== null) return "revoked";
  if (expiresAt !== null && expiresAt <= nowS) return "expired";
  const good = secrets.filter((secret) => secret.expiresAt === null || secret.expiresAt > nowS);
  if (secrets.length > 0 && good.length === 0) return "expired";
  return good.length > 1 ? "rotating" : "active";
}

/** Whether a key can still be used, and so rotated or revoked. */
export function isGood(key: Key, nowS: number): boolean {
  const state = stateOf(key, nowS);
  return state === "active" || state === "rotating";
}

/** Return the secrets of a key that are good, the newest first. */
export function goodSecrets({ secrets }: Key, nowS: number): Secret[] {
  return secrets
    .filter(({ expiresAt }) => expiresAt === null || expiresAt > nowS)
    .sort((a, b) => (b.createdAt ?? 0) - (a.createdAt ?? 0));
}

/** Return the keys of a list, the newest first; null for what is no list. */
export function readKeys(body: unknown): Key[] | null {
  if (!isObject(body) || !Array.isArray(body.data)) return null;
  const keys = body.data.map(readKey).filter((key) => key !== null);
  return keys.sort((a, b) => (b.createdAt ?? 0) - (a.createdAt ?? 0)).slice(0, MAX_KEYS);
}

/** Return a key; null for what has no id. */
export function readKey(value: unknown): Key | null {
  if (!isObject(value) || typeof value.id !== "string" || value.id === "") return null;
  return {
    id: value.id,
    name: textOf(value.name),
    owner: textOf(value.owner),
    role: value.role === "admin" ? "admin" : "member",
    models: Array.isArray(value.models) ? value.models.filter((model) => typeof model === "string") : null,
    limits: readLimits(value.limits),
    budget: dollarsOf(value.budget),
    spent: dollarsOf(value.spent),
    tags: readTags(value.tags),
    secrets: Array.isArray(value.secrets) ? value.secrets.filter(isObject).map(readSecret) : [],
    createdAt: numberOf(value.created_at),
    expiresAt: numberOf(value.expires_at),
    revokedAt: numberOf(value.revoked_at),
  };
}

/** Return a key with its secret; null where there is none. */
export function readMadeKey(body: unknown): MadeKey | null {
  const key = readKey(body);
  const secret = isObject(body) ? textOf(body.key) : "";
  return key === null || secret === "" ? null : { key, secret };
}

function readLimits(value: unknown): Key["limits"] {
  const fields = isObject(value) ? value : {};
  return Object.fromEntries(
    LIMIT_NAMES.flatMap((name) => (typeof fields[name] === "number" ? [[name, fields[name]]] : [])),
  );
}

function readTags(value: unknown): [string, string][] {
  return Object.entries(isObject(value) ? value : {}).flatMap(([name, text]) =>
    typeof text === "string" ? [[name, text]] : [],
  );
}

function readSecret(fields: Readonly<Record<string, unknown>>): Secret {
  return {
    hint: textOf(fields.hint),
    createdAt: numberOf(fields.created_at),
    expiresAt: numberOf(fields.expires_at),
  };
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
