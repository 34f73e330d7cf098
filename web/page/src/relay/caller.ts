/** Who this page is to the relay, as `GET /v1/me` tells. */

import { amountOf } from "../money.ts";
import { isObject } from "./json.ts";

export type Role = "member" | "admin";

/** US dollars; null where nothing is set, or not told. Days and months are those of UTC. */
export interface DayAndMonth {
  readonly day: number | null;
  readonly month: number | null;
}

export interface Caller {
  /** "" while nobody has to show a key. */
  readonly owner: string;
  readonly role: Role;
  readonly keyId: string | null;
  readonly keyName: string | null;
  /** False while the relay has no keys: everybody is the same admin then. */
  readonly keysRequired: boolean;
  readonly budget: DayAndMonth;
  readonly spent: DayAndMonth;
  /** Unix seconds. */
  readonly expiresAt: number | null;
}

/** Return who calls; null for what is no such answer. */
export function callerOf(body: unknown): Caller | null {
  if (!isObject(body) || typeof body.owner !== "string") return null;
  return {
    owner: body.owner,
    role: body.role === "admin" ? "admin" : "member",
    keyId: textOf(body.key_id),
    keyName: textOf(body.name),
    keysRequired: body.keys_required === true,
    budget: dollarsOf(body.budget),
    spent: dollarsOf(body.spent),
    expiresAt: typeof body.expires_at === "number" ? body.expires_at : null,
  };
}

/** Return the amounts of `{"day_usd": "1.5", "month_usd": "20"}`. */
export function dollarsOf(value: unknown): DayAndMonth {
  const amounts = isObject(value) ? value : {};
  return { day: amountOf(amounts.day_usd), month: amountOf(amounts.month_usd) };
}

/** Whether this caller may see every owner's streams and usage. */
export function isAdmin(caller: Caller | null): boolean {
  return caller?.role === "admin";
}

/** Whether there are keys for this caller to look after. */
export function managesKeys(caller: Caller | null): boolean {
  return isAdmin(caller) && caller?.keysRequired === true;
}

function textOf(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}
