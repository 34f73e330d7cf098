import { readLines } from "./stream.ts";

/**
 * Runs as a worker, so that reading and parsing cost the page's thread nothing, whoever draws: reads an answer, and sends what
 * has come when it is asked, or else as soon as something comes. A message in is a request for more, the first with the URL.
 */

/** What the worker sends. */
export interface Portion {
  text: string;
  hasEnded: boolean;
  /** Why the answer is not whole, or null. */
  error: string | null;
}

let text = "";
let end: { error: string | null } | null = null;
let isAsked = false;

function send(): void {
  if (!isAsked || (text === "" && end === null)) return;
  isAsked = false;
  const portion: Portion = { text, hasEnded: end !== null, error: end?.error ?? null };
  text = "";
  self.postMessage(portion);
}

async function read(url: string): Promise<void> {
  try {
    await readLines(url, (more) => {
      text += more;
      send();
    });
    end = { error: null };
  } catch (error) {
    end = { error: String(error) };
  }
  send();
}

self.onmessage = ({ data }: MessageEvent<string | null>) => {
  isAsked = true;
  if (data === null) send();
  else void read(data);
};
