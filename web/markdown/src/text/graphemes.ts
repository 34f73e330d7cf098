/** How far back a start is looked for; no cluster in real text is near as long. */
const REACH = 256;

/** How much more than a cluster may be held, since telling where it starts takes what `Intl.Segmenter` is made of. */
const HOLD = 16;

/** Characters that join nothing on either side (UAX 29): of Latin, Greek, Cyrillic, punctuation, arrows, kana, Han. */
const SIMPLE =
  /[\0-\u02ff\u0370-\u0482\u048a-\u058f\u1e00-\u200a\u2010-\u2027\u2030-\u205e\u20a0-\u20cf\u2100-\u2bff\u3000-\u3029\u3041-\u3096\u309b-\u30ff\u3400-\u9fff]/;

function isSimple(unit: number): boolean {
  return unit < 0x80 || SIMPLE.test(String.fromCharCode(unit));
}

/** Whether a cluster surely ends between these two units: both join nothing, and are not the two halves of a line end. */
function isSureBreak(before: number, after: number): boolean {
  return isSimple(before) && isSimple(after) && !(before === 0x0d && after === 0x0a);
}

/** The last place where a cluster surely starts, or as far back as is looked. */
function lastSureBreak(text: string): number {
  const floor = Math.max(0, text.length - REACH);
  for (let at = text.length - 1; at > floor; at -= 1) {
    if (isSureBreak(text.charCodeAt(at - 1), text.charCodeAt(at))) return at;
  }
  return floor;
}

/** Finds clusters; what finds them in text that is not plain ASCII is made when first needed, since that takes a while. */
class Clusters {
  #segmenter: Intl.Segmenter | null = null;

  /** Where the last cluster of `text` starts, read from a cluster's start; half a character counts to the one before. */
  lastStart(all: string, from: number): number {
    const text = /[\ud800-\udbff]$/.test(all) ? all.slice(0, -1) : all;
    if (from === all.length - 1) return from;
    if (typeof Intl.Segmenter !== "function") return lastCodePoint(text);
    this.#segmenter ??= new Intl.Segmenter();
    let start = from;
    for (const cluster of this.#segmenter.segment(text.slice(from))) start = from + cluster.index;
    return start;
  }
}

/** For browsers without Intl.Segmenter: the last character with the marks, joiners and modifiers that follow it. */
function lastCodePoint(text: string): number {
  const tail = text.slice(-REACH);
  const joined = /(?:[\s\S]\u200d|\p{Regional_Indicator})*[\s\S](?:\p{M}|\p{Emoji_Modifier}|\u200d)*$/u.exec(tail);
  return text.length - (joined?.[0].length ?? 1);
}

/** Whether nothing can join what ends here: a line end or another control (UAX 29, GB4). */
function isClosed(text: string): boolean {
  const last = text.charCodeAt(text.length - 1);
  return last < 0x20 && last !== 0x0d;
}

/**
 * Return `text` without its last grapheme cluster if that may still grow.
 *
 * Any character may be joined by a combining mark, a joiner or a modifier that is yet to come, so only a text that ends in
 * a control character (a line end) comes back whole.
 */
export function safePrefix(text: string): string {
  if (text === "" || isClosed(text)) return text;
  return text.slice(0, new Clusters().lastStart(text, lastSureBreak(text)));
}

/** A lone surrogate, or a NUL (CommonMark 2.3), is shown as the replacement character. */
export function wellFormed(text: string): string {
  return text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]|\0/g, "\ufffd");
}

/**
 * Lets text through up to the last grapheme cluster, which may still grow; line ends become `\n`.
 *
 * Each unit is looked at a bounded number of times: the held cluster is the start of what is looked at next, and one longer
 * than `REACH` is let go.
 */
export class GraphemeGate {
  readonly #clusters = new Clusters();
  #held = "";

  /** Take what is new, return what is now whole. */
  push(delta: string): string {
    const text = this.#held + delta;
    const start = this.#lastStart(text);
    const end = text.length - start > REACH ? text.length - 1 : start;
    this.#held = text.slice(end);
    return clean(text.slice(0, end));
  }

  #lastStart(text: string): number {
    if (text === "" || isClosed(text)) return text.length;
    const from = readFrom(text);
    return text.length - from <= HOLD ? from : this.#clusters.lastStart(text, from);
  }

  /** No more comes: return the rest. */
  flush(): string {
    const rest = this.#held;
    this.#held = "";
    return clean(rest);
  }
}

/** The text begins at a boundary, so it may be read from there; a long one is read from a sure break near its end. */
function readFrom(text: string): number {
  const at = lastSureBreak(text);
  return at > 0 && isSureBreak(text.charCodeAt(at - 1), text.charCodeAt(at)) ? at : 0;
}

function clean(text: string): string {
  if (!/[\r\0\ud800-\udfff]/.test(text)) return text;
  return wellFormed(text.replace(/\r\n?/g, "\n"));
}
