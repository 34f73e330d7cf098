/** When something was painted. */

import type { Clock } from "./clock.ts";
import type { View } from "./view.ts";

/** Frames of an occluded window may never come. */
const LIMIT_MS = 500;

/**
 * Resolves with the time of the frame after the next paint: two frames on, what was drawn before is on the screen. Null when
 * nothing is painted.
 */
export function painted(view: View, clock: Clock): Promise<number | null> {
  if (view.isHidden()) return Promise.resolve(null);
  return new Promise((resolve) => {
    let callOff: () => void = () => {};
    const limit = clock.after(LIMIT_MS, () => {
      callOff();
      resolve(null);
    });
    callOff = view.schedule(() => {
      callOff = view.schedule(() => {
        limit();
        resolve(view.isHidden() ? null : clock.now());
      });
    });
  });
}
