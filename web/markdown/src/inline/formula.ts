/** A formula in running text. */
export interface InlineFormula {
  readonly end: number;
  readonly tex: string;
  readonly isDisplay: boolean;
}

/** How long a formula in running text may be; one of a single dollar is shorter, since a dollar is mostly money. */
const REACH = { $$: 2000, "\\[": 2000, "\\(": 1000, $: 300 } as const;
const CLOSE = { $$: "$$", "\\[": "\\]", "\\(": "\\)" } as const;

/** An amount of money, not followed by what would make it a formula. */
const AMOUNT = /^\d[\d.,]*(?:[kKmMbB]|bn|%|\+)?(?=[\s).,;:!?"'\]/-]|$)(?!\s*[-+*/=<>^\\])/;

/**
 * Read the formula that begins at `at`. Null: there is none. "open": it has no end yet, and `text` ends within its reach.
 *
 * A single dollar opens if no white space follows, and closes if none precedes and no digit follows (as pandoc has it).
 */
export function readFormula(text: string, at: number): InlineFormula | "open" | null {
  const two = text.slice(at, at + 2);
  if (two === "$$" || two === "\\[" || two === "\\(") return readDelimited(text, at, two);
  return two.startsWith("$") ? readDollar(text, at) : null;
}

function readDelimited(text: string, at: number, open: keyof typeof CLOSE): InlineFormula | "open" | null {
  const body = text.slice(at + 2, at + 2 + REACH[open]);
  const end = body.indexOf(CLOSE[open]);
  if (end < 0) return at + 2 + body.length === text.length && body.length < REACH[open] ? "open" : null;
  const tex = body.slice(0, end).trim();
  return tex === "" ? null : { end: at + 2 + end + 2, tex, isDisplay: open !== "\\(" };
}

function readDollar(text: string, at: number): InlineFormula | "open" | null {
  const body = text.slice(at + 1, at + 1 + REACH.$);
  const isTail = at + 1 + body.length === text.length && body.length < REACH.$;
  if (/^[\s$]/.test(body)) return null;
  if (isTail && /^[\d.,]*[kKmMbB%+]?\s*$/.test(body)) return "open";
  if (AMOUNT.test(body)) return null;
  for (let end = body.indexOf("$"); end >= 0; end = body.indexOf("$", end + 1)) {
    if (end === body.length - 1 && isTail) return closes(body, end) ? formula(body, at, end) : "open";
    if (closes(body, end)) return formula(body, at, end);
  }
  return isTail ? "open" : null;
}

function closes(body: string, end: number): boolean {
  return !/[\s\\]/.test(body[end - 1] ?? " ") && !/\d/.test(body[end + 1] ?? "");
}

function formula(body: string, at: number, end: number): InlineFormula {
  return { end: at + 1 + end + 1, tex: body.slice(0, end), isDisplay: false };
}
