/** Names of streams. */

/** Returns a new id. `crypto.randomUUID` exists in secure contexts only; a relay in a home network is none. */
export function newStreamId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
