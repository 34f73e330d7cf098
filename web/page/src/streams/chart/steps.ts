/** Which bar a key leads to. */

const LARGE_STEP = 10;

/**
 * Returns the index of the bar that a key leads to, or null when the key is not for the timeline.
 *
 * The keys are those of a slider (ARIA Authoring Practices Guide, slider pattern).
 *
 * @param key `KeyboardEvent.key`.
 * @param at Index of the bar under the cursor; -1: none.
 * @param count Number of bars.
 */
export function stepOf(key: string, at: number, count: number): number | null {
  const inside = (index: number) => Math.max(0, Math.min(count - 1, index));
  switch (key) {
    case "ArrowRight":
    case "ArrowUp":
      return inside(at + 1);
    case "ArrowLeft":
    case "ArrowDown":
      return inside(at - 1);
    case "PageUp":
      return inside(at + LARGE_STEP);
    case "PageDown":
      return inside(at - LARGE_STEP);
    case "Home":
      return inside(0);
    case "End":
      return inside(count - 1);
    default:
      return null;
  }
}
