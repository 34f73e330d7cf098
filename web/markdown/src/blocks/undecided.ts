import type { Frame, Plan } from "./plan.ts";

/** Starts of a paragraph's line that could still become something else. */
const UNDECIDED: readonly RegExp[] = [
  /^(?:[-+*]|\d{1,9}[.)]?)[ \t]*$/, // the marker of an item
  /^[-_*= \t]+$/, // a rule, an underline
  /^#{1,6}$/, // a heading
  /^(?:`{1,2}$|`{3}|~{1,2}$|~{3})/, // a fence; its info string may yet hold a backtick
  /^(?:\$$|\$\$|\\$|\\\[)/, // a formula
  /^\|/, // a row of a table, or its head
  /^\[(?:$|\^[^\]\s]*(?:\]$|$))/, // a footnote
];

/** The same where a paragraph begins: a link definition, the box of a task. */
const UNDECIDED_FIRST: readonly RegExp[] = [
  /^\[(?:[^\]\\]|\\[\s\S])*\\?\]?$/,
  /^\[(?:[^\]\\]|\\[\s\S])*\]:/,
  /^\[[ xX]\][ \t]*$/,
];

/**
 * Whether no text that comes later on the line can change what the line means.
 *
 * Only then may a line be drawn before its end has come. Leaves that are told by the whole line never are.
 */
export function isDecided(plan: Plan, tip: Frame | undefined): boolean {
  const { leaf } = plan;
  switch (leaf.type) {
    case "paragraph":
      return !isOneOf(UNDECIDED, leaf.text) && !isOneOf(UNDECIDED_FIRST, leaf.text);
    case "continue":
      return !isOneOf(UNDECIDED, leaf.text) && !/^[|:\- \t]+$/.test(leaf.text);
    case "heading":
      return leaf.text.trim() !== "";
    case "indented":
      return !/^[-_*\s]*$/.test(leaf.text);
    case "verbatim":
      return tip?.type === "formula" ? false : !/^[ \t]*[`~]*[ \t]*$/.test(leaf.text);
    default:
      return false;
  }
}

function isOneOf(patterns: readonly RegExp[], text: string): boolean {
  return patterns.some((pattern) => pattern.test(text));
}
