/** JSON as it comes from a peer: nothing is known of it before it was looked at. */

/** A JSON object. */
export interface JsonObject {
  readonly [name: string]: unknown;
}

/** True for a JSON object: no array, no null. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Returns the object that a text holds; null when it holds anything else. */
export function parseObject(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

/** Returns a text, or null. */
export function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

/** Returns a finite number, or null. */
export function numberOrNull(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** True for what an offset may be: a whole number, -1 ("before the first") included. */
export function isOffset(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= -1;
}
