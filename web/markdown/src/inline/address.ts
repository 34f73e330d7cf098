import { decode } from "./entities.ts";

/** Where a link leads, as it stands in parentheses. */
export interface Address {
  readonly href: string;
  readonly title: string | null;
  /** Behind the closing parenthesis. */
  readonly end: number;
}

/** How deep parentheses may stand in an address. */
const DEPTH = 32;

const BLANK = /[ \t]*(?:\n[ \t]*)?/y;
const POINTED = /<((?:[^<>\n\\]|\\.)*)>/y;
const TITLE = /"((?:[^"\\]|\\[\s\S])*)"|'((?:[^'\\]|\\[\s\S])*)'|\(((?:[^()\\]|\\[\s\S])*)\)/y;

/** Read the address whose `(` stands at `at` (CommonMark 6.3); null if there is none, or none yet. */
export function readAddress(text: string, at: number): Address | null {
  const start = skip(BLANK, text, at + 1);
  const pointed = match(POINTED, text, start);
  const end = pointed === null ? bareEnd(text, start) : start + pointed[0].length;
  if (pointed === null && text[start] === "<") return null;
  const href = pointed?.[1] ?? text.slice(start, end);
  const next = skip(BLANK, text, end);
  const title = next > end ? match(TITLE, text, next) : null;
  const close = title === null ? next : skip(BLANK, text, next + title[0].length);
  if (text[close] !== ")") return null;
  const words = title === null ? null : (title[1] ?? title[2] ?? title[3] ?? "");
  return { href: decode(href), title: words === null ? null : decode(words), end: close + 1 };
}

/** The end of an address without angle brackets: its parentheses are balanced. */
function bareEnd(text: string, start: number): number {
  let depth = 0;
  for (let at = start; ; at += 1) {
    const code = text.charCodeAt(at);
    if (Number.isNaN(code) || code <= 0x20 || code === 0x7f) return at;
    if (code === 0x5c && text.charCodeAt(at + 1) > 0x20) at += 1;
    else if (code === 0x28) depth += 1;
    else if (code === 0x29) depth -= 1;
    if (depth < 0 || depth > DEPTH) return at;
  }
}

function match(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function skip(pattern: RegExp, text: string, at: number): number {
  return at + (match(pattern, text, at)?.[0].length ?? 0);
}
