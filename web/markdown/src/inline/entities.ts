import { NAMES } from "./names.ts";

const ENTITY = /&(?:#(\d{1,7})|#[xX]([\da-fA-F]{1,6})|([A-Za-z][A-Za-z\d]{1,31}));/y;
const ESCAPED = /\\([!-/:-@[-`{-~])|&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z][A-Za-z\d]{1,31});/g;

/** Read the character reference at `at` (CommonMark 2.5); null if there is none. */
export function readEntity(text: string, at: number): { readonly text: string; readonly end: number } | null {
  ENTITY.lastIndex = at;
  const found = ENTITY.exec(text);
  if (found === null) return null;
  const [all, decimal, hex, name] = found;
  const shown = name === undefined ? characterOf(decimal ?? "", hex) : named(name);
  return shown === null ? null : { text: shown, end: at + all.length };
}

/** Take the backslashes off punctuation, and put characters in the place of references to them. */
export function decode(text: string): string {
  if (!/[\\&]/.test(text)) return text;
  return text.replace(ESCAPED, (found, escaped: string | undefined) => escaped ?? readEntity(found, 0)?.text ?? found);
}

/** NUL and what is no character is shown as the replacement character. */
function characterOf(decimal: string, hex: string | undefined): string {
  const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
  const isCharacter = code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
  return isCharacter ? String.fromCodePoint(code) : "\ufffd";
}

function named(name: string): string | null {
  const at = NAMES.indexOf(` ${name} `);
  if (at < 0) return null;
  const start = NAMES.lastIndexOf("\u0001", at) + 1;
  return NAMES.slice(start, NAMES.indexOf(" ", start));
}
