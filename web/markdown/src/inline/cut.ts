import { heal } from "./heal.ts";

const CONTAINERS = /^(?:\s|>|[-+*](?=\s|$)|\d{1,9}[.)](?=\s|$)|\[(?:[ xX]\]?)?(?=\s*$))*/;

/** What is left of a line that has said nothing yet: the begin of a rule, heading, fence, formula, table or link. */
const MARKER = /^(?:[-_*=\s|:]*|#{1,6}\s*|[`~]{1,2}|(?:`{3}|~{3}).*|\$\$?|\\\[?|!?\[\^?)$/;

/** What is shown of an undecided last line after which nothing comes: nothing, if it is a marker and no more. */
export function cutLine(line: string, math: boolean): string {
  return MARKER.test(line.replace(CONTAINERS, "")) ? "" : heal(line, math);
}
