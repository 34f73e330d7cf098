/** Chat requests as URLs of the EventSource route. */

import { TOKEN_ROUTE } from "./address.ts";
import { isObject } from "./json.ts";

/** The fields of a chat request that fit into a URL. */
const FIELDS = ["model", "temperature", "top_p", "seed", "max_tokens"] as const;

/**
 * Returns the URL of the EventSource route for a chat request.
 *
 * @throws TypeError The request cannot be expressed: it has more than a system prompt and one question, or other fields.
 */
export function tokenURL(root: string, payload: Readonly<Record<string, unknown>>, linger: number | true): string {
  const { system, prompt } = questionOf(payload);
  const url = new URL(`${root}${TOKEN_ROUTE}`);
  url.searchParams.set("prompt", prompt);
  if (system !== null) url.searchParams.set("system", system);
  for (const [name, value] of Object.entries(payload)) {
    if (name === "messages" || name === "prompt" || name === "stream" || value === undefined || value === null)
      continue;
    if (!FIELDS.some((field) => field === name)) throw new TypeError(`transport "eventsource" cannot carry ${name}`);
    url.searchParams.set(name, String(value));
  }
  url.searchParams.set("linger", String(linger));
  return url.href;
}

function questionOf(payload: Readonly<Record<string, unknown>>): { system: string | null; prompt: string } {
  if (typeof payload.prompt === "string" && payload.messages === undefined)
    return { system: null, prompt: payload.prompt };
  const messages: readonly unknown[] = Array.isArray(payload.messages) ? payload.messages : [];
  const texts = messages.map((message) => (isObject(message) ? message : {}));
  const question = texts.at(-1);
  const isShort = texts.length === 1 || (texts.length === 2 && texts[0]?.role === "system");
  const system = texts.length === 2 ? texts[0]?.content : null;
  const isPlain = question?.role === "user" && typeof question.content === "string";
  if (!isShort || !isPlain || typeof question.content !== "string" || (system !== null && typeof system !== "string")) {
    throw new TypeError('transport "eventsource" can carry one user message of text, behind a system message at most');
  }
  return { system, prompt: question.content };
}
