/** What usage is told apart by. */

export const GROUPINGS = [
  ["model", "Model"],
  ["owner", "Owner"],
  ["key", "Key"],
  ["day", "Day"],
  ["tag", "Tag"],
] as const;

export type GroupingName = (typeof GROUPINGS)[number][0];

export interface Grouping {
  readonly name: GroupingName;
  /** The tag's name, for "tag". */
  readonly tag: string;
}

const TAG_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Return the groupings for a reader: members see but one owner. */
export function groupingsFor(isAdmin: boolean): (typeof GROUPINGS)[number][] {
  return GROUPINGS.filter(([name]) => name !== "owner" || isAdmin);
}

/** Return the relay's word for a grouping: `tag:team`; null while a tag has no name, or none that can be. */
export function wireOf({ name, tag }: Grouping): string | null {
  if (name !== "tag") return name;
  return TAG_NAME.test(tag) ? `tag:${tag}` : null;
}

/** Return what the groups are: "model", "tag team". */
export function nounOf({ name, tag }: Grouping): string {
  return name === "tag" ? `tag ${tag}` : name;
}

/** Return the head of their column: "Model", "Tag team". */
export function headOf(grouping: Grouping): string {
  const noun = nounOf(grouping);
  return noun.charAt(0).toUpperCase() + noun.slice(1);
}

/** Return what a group is called; a stream without a key, say, is in the group "". */
export function groupWords({ name }: Grouping, value: string): string {
  if (value !== "") return value;
  return name === "tag" ? "without this tag" : name === "model" ? "unknown model" : `no ${name}`;
}
