/** Where a server is. */

/** The routes that start a stream; what stands before one of them is the root of the API. */
const ROUTES = ["/api/v1/chat/stream", "/v1/completions/stream", "/v1/chat/completions", "/v1/completions"] as const;

export const TOKEN_ROUTE = "/v1/completions/stream";

export interface Address {
  /** Absolute URL that a request goes to. */
  readonly url: string;
  /** What the relay's other routes begin with: an absolute URL without a slash at its end. */
  readonly root: string;
  /** The route of `url`; null for one that no relay has. */
  readonly route: (typeof ROUTES)[number] | null;
}

/**
 * Returns the address of an endpoint.
 *
 * @param endpoint A path or URL; a path before the route stays (`https://host/llm/v1/chat/completions`).
 * @param baseURL What a path is relative to, with or without `/v1` at its end.
 * @throws TypeError There is no base for a path, or it is no http or https URL.
 */
export function addressOf(endpoint: string, baseURL: string | null): Address {
  const url = absolute(endpoint, baseURL);
  const path = url.pathname.replace(/\/+$/, "");
  const route = ROUTES.find((each) => path.endsWith(each)) ?? null;
  const before = route === null ? (/^(.*?)\/v1(?:\/|$)/.exec(path)?.[1] ?? "") : path.slice(0, -route.length);
  return { url: url.href, root: `${url.origin}${before}`, route };
}

/** Returns the root of a relay. @throws TypeError As above. */
export function rootOf(baseURL: string | null): string {
  const url = absolute("", baseURL);
  return `${url.origin}${url.pathname.replace(/\/+$/, "").replace(/\/v1$/, "")}`;
}

/** Returns the URL of the WebSocket of a relay. */
export function socketURL(root: string): string {
  return `${root.replace(/^http/, "ws")}/v1/stream`;
}

/** Returns the URL of a stream's resource. */
export function streamURL(root: string, streamId: string, rest = ""): string {
  return `${root}/v1/streams/${encodeURIComponent(streamId)}${rest}`;
}

function absolute(endpoint: string, baseURL: string | null): URL {
  let url: URL;
  try {
    const base = baseURL === null ? undefined : new URL(baseURL);
    const isPath = endpoint.startsWith("/") && !endpoint.startsWith("//");
    // A path goes below the base, which may have one of its own.
    const prefix = base === undefined ? "" : base.pathname.replace(/\/+$/, "").replace(/\/v1$/, "");
    url = isPath && base !== undefined ? new URL(`${prefix}${endpoint}`, base) : new URL(endpoint, base);
  } catch (error) {
    throw new TypeError(`${endpoint || baseURL} is no URL; give baseURL, such as "http://127.0.0.1:8080"`, {
      cause: error,
    });
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") throw new TypeError(`${url.href} is no http or https URL`);
  return url;
}
