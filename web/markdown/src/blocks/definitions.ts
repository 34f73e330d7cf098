import { decode } from "../inline/entities.ts";
import type { Target } from "./block.ts";

export interface Definition {
  readonly label: string;
  readonly target: Target;
  /** Where the text after it starts. */
  readonly end: number;
  /** A title on the next line could still be part of it. */
  readonly isOpen: boolean;
}

const LABEL = /^\[((?:[^\\[\]]|\\[\s\S]){1,999})\]:[ \t]*\n?[ \t]*/;
const DESTINATION = /(?:<((?:[^<>\n\\]|\\.)*)>|([^\s<]\S*))/y;
const TITLE =
  /(?:[ \t]*\n)?[ \t]*(?:"((?:[^"\\]|\\[\s\S])*)"|'((?:[^'\\]|\\[\s\S])*)'|\(((?:[^()\\]|\\[\s\S])*)\))[ \t]*(?:\n|$)/y;
const LINE_END = /[ \t]*(?:\n|$)/y;

/** Read the link definition that `text` begins with (CommonMark 4.7), or return null. */
export function readDefinition(text: string): Definition | null {
  const label = LABEL.exec(text);
  if (label === null || (label[1] ?? "").trim() === "") return null;
  const destination = at(DESTINATION, text, label[0].length);
  if (destination === null) return null;
  const afterwards = label[0].length + destination[0].length;
  const title = /[ \t\n]/.test(text[afterwards] ?? "") ? at(TITLE, text, afterwards) : null;
  const end = title ?? at(LINE_END, text, afterwards);
  if (end === null) return null;
  const quoted = title === null ? null : (title[1] ?? title[2] ?? title[3] ?? "");
  return {
    label: normalLabel(label[1] ?? ""),
    target: {
      href: decode(destination[1] ?? destination[2] ?? ""),
      title: quoted === null ? null : decode(quoted),
    },
    end: afterwards + end[0].length,
    isOpen: title === null && afterwards + end[0].length >= text.length,
  };
}

const LABEL_BEGUN = /^\[(?:[^\\[\]]|\\(?:[\s\S]|$)){0,999}\]?$/;
const ADDRESS_BEGUN = /^\[(?:[^\\[\]]|\\[\s\S]){1,999}\]: ?\n? ?(?:<(?:[^<>\n\\]|\\(?:.|$))*>?|[^\s<]\S*)?/;
const TITLE_BEGUN =
  /^ ?\n? ?(?:"(?:[^"\\]|\\(?:[\s\S]|$))*"?|'(?:[^'\\]|\\(?:[\s\S]|$))*'?|\((?:[^()\\]|\\(?:[\s\S]|$))*\)?)? ?$/;

/** Whether more text could make `text` begin with a definition, or end the one it is. */
export function isDefinitionBegun(text: string): boolean {
  if (text === "" || !text.startsWith("[")) return text === "";
  // Blanks in a row are one here: else where they belong could be tried in many ways.
  const spare = text.replace(/[ \t]+/g, " ");
  if (LABEL_BEGUN.test(spare)) return true;
  const address = ADDRESS_BEGUN.exec(spare);
  return address !== null && TITLE_BEGUN.test(spare.slice(address[0].length));
}

/** Labels match by this form (CommonMark 6.3, but by lower case instead of case folding). */
export function normalLabel(label: string): string {
  return label.trim().replace(/\s+/g, " ").toLowerCase();
}

function at(pattern: RegExp, text: string, index: number): RegExpExecArray | null {
  pattern.lastIndex = index;
  return pattern.exec(text);
}

/** Take out the backslashes before punctuation. */
export function withoutBackslashes(text: string): string {
  return text.replace(/\\([!-/:-@[-`{-~])/g, "$1");
}
