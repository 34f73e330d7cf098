/** An address in running text that is a link though nothing marks it. */
export interface BareLink {
  readonly start: number;
  readonly end: number;
  readonly href: string;
}

const SITE = /(?:[a-z\d](?:[a-z\d_-]*[a-z\d])?)(?:\.[a-z\d_-]+)*[^\s<]*/iy;
const SITE_IN_BRACKETS = /(?:[a-z\d](?:[a-z\d_-]*[a-z\d])?)(?:\.[a-z\d_-]+)*[^\s<[\]]*/iy;
const SCHEME = /(?:^|[^A-Za-z\d])(https?)$/i;

/** Read the link around `://` or at `www.` (GFM 6.9). `from`: where text begins that is not read otherwise yet. */
export function readBareLink(text: string, at: number, from: number, isInBrackets: boolean): BareLink | null {
  const isNamed = text[at] !== ":";
  const scheme = isNamed ? null : SCHEME.exec(text.slice(Math.max(from, at - 6), at));
  if (isNamed ? /[A-Za-z\d]/.test(text[at - 1] ?? " ") : scheme === null) return null;
  const start = isNamed ? at : at - (scheme?.[1]?.length ?? 0);
  const pattern = isInBrackets ? SITE_IN_BRACKETS : SITE;
  pattern.lastIndex = at + (isNamed ? 4 : 3);
  const found = pattern.exec(text);
  if (found === null) return null;
  const end = withoutPunctuation(text, at, pattern.lastIndex);
  const address = text.slice(start, end);
  return { start, end, href: isNamed ? `http://${address}` : address };
}

/** Punctuation at the end belongs to the text, as does a parenthesis without its partner, or what looks like an entity. */
function withoutPunctuation(text: string, start: number, from: number): number {
  let end = from;
  for (;;) {
    const last = text[end - 1] ?? "";
    if (last === ";") {
      const entity = /&[A-Za-z\d]+;$/.exec(text.slice(Math.max(start, end - 34), end));
      end -= entity?.[0].length ?? 1;
    } else if (/[?!.,:*_~'"]/.test(last) || (last === ")" && isUnbalanced(text.slice(start, end)))) end -= 1;
    else return end;
  }
}

function isUnbalanced(text: string): boolean {
  return text.split(")").length > text.split("(").length;
}

const BEFORE_AT = /[A-Za-z\d.+_-]+$/;
const AFTER_AT = /[A-Za-z\d_-]+(?:\.[A-Za-z\d_-]+)*\.[A-Za-z\d_-]*[A-Za-z\d]/y;
/** Longest name before the `@` of an address (RFC 5321, 4.5.3.1.1). */
const LOCAL = 64;

/** Read the mail address around the `@` at `at`. */
export function readBareMail(text: string, at: number, from: number): BareLink | null {
  const name = BEFORE_AT.exec(text.slice(Math.max(from, at - LOCAL), at));
  AFTER_AT.lastIndex = at + 1;
  if (name === null || !AFTER_AT.test(text)) return null;
  const start = at - name[0].length;
  const end = AFTER_AT.lastIndex;
  return { start, end, href: `mailto:${text.slice(start, end)}` };
}
