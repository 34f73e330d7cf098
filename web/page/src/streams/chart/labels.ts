/** Labels over the plot: as many as fit, the important ones first, none over another. */

export interface Label {
  readonly key: string;
  readonly text: string;
  /** What it stands for, in pixels. */
  readonly x: number;
  /** Lower comes first when there is not room for all. */
  readonly rank: number;
}

export interface PlacedLabel extends Label {
  /** Left edge of the text. */
  readonly left: number;
  /** It ends where the plot does. */
  readonly isAtEnd: boolean;
  /** 0 is nearest to the plot. */
  readonly row: number;
}

/** Mean width of a character at the labels' font size (11 px of a sans-serif), with something to spare. */
export const CHARACTER_PX = 6.4;

const SPACE_PX = 8;

/**
 * Returns the labels that fit, each centred over its place as far as the edges allow.
 *
 * @param labels In any order.
 * @param width Of the plot.
 * @param rows Most rows of labels.
 */
export function placeLabels(labels: readonly Label[], width: number, rows: number): PlacedLabel[] {
  const placed: PlacedLabel[] = [];
  for (const label of [...labels].sort((a, b) => a.rank - b.rank)) {
    const wide = label.text.length * CHARACTER_PX;
    const left = Math.max(0, Math.min(label.x - wide / 2, width - wide));
    const isFree = (row: number) =>
      placed.every((other) => other.row !== row || left > rightOf(other) || left + wide + SPACE_PX < other.left);
    const row = Array.from({ length: rows }, (_, index) => index).find(isFree);
    if (row !== undefined && wide <= width) {
      placed.push({ ...label, left, isAtEnd: left > 0 && left + wide >= width, row });
    }
  }
  return placed;
}

function rightOf(label: PlacedLabel): number {
  return label.left + label.text.length * CHARACTER_PX + SPACE_PX;
}
