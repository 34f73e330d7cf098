const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/**
 * Return a new id of 22 characters (132 random bits) that may stand in an address and name a stream.
 *
 * Not `crypto.randomUUID`: browsers have that on https and loopback only, and a relay may serve a LAN.
 */
export function newId(random: Pick<Crypto, "getRandomValues">): string {
  const bytes = random.getRandomValues(new Uint8Array(22));
  return Array.from(bytes, (byte) => ALPHABET[byte & 63]).join("");
}
