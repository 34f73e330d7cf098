/** When there is something to see: frames, and whether anybody looks. */

/** Runs something before the next paint, or soon when nothing is painted; returns what calls it off. */
export type Schedule = (run: () => void) => () => void;

export interface View {
  readonly schedule: Schedule;
  /** Nothing is painted, so nothing can be seen. */
  isHidden(): boolean;
  /**
   * How long the next batch may wait at its source, in milliseconds. Visible pages pace by frames, so they do not ask for any;
   * browsers clamp a hidden page's timers to a second and later to a minute, so there the Worker's timer paces, which they leave
   * alone, and a batch is taken in the very task that brings it. A full buffer does not wait for it: a hidden page neither
   * stalls a stream nor lets it pile up.
   */
  paceMs(): number;
}

/** For pages that nobody looks at, in which nothing is late. */
const HIDDEN_PACE_MS = 250;

/** Returns the platform's view; `throttleMs` paces where there is no page. */
export function systemView(throttleMs: number): View {
  if (typeof document === "undefined" || typeof requestAnimationFrame !== "function") {
    return { schedule: soon, isHidden: () => true, paceMs: () => throttleMs };
  }
  return {
    schedule: frameOrSoon,
    isHidden: () => document.hidden,
    paceMs: () => (document.hidden ? HIDDEN_PACE_MS : 0),
  };
}

/** Returns a view that paces by `schedule`; used where a test, or a framework, brings its own frames. */
export function viewOf(schedule: Schedule, isHidden: () => boolean): View {
  return { schedule, isHidden, paceMs: () => (isHidden() ? HIDDEN_PACE_MS : 0) };
}

function soon(run: () => void): () => void {
  let isWanted = true;
  queueMicrotask(() => {
    if (isWanted) run();
  });
  return () => {
    isWanted = false;
  };
}

/** A frame that was asked for is not painted any more once the page is hidden: then it is now. */
function frameOrSoon(run: () => void): () => void {
  if (document.hidden) return soon(run);
  const done = (): void => {
    callOff();
    run();
  };
  const onChange = (): void => {
    if (document.hidden) done();
  };
  const callOff = (): void => {
    cancelAnimationFrame(frame);
    document.removeEventListener("visibilitychange", onChange);
  };
  const frame = requestAnimationFrame(done);
  document.addEventListener("visibilitychange", onChange);
  return callOff;
}
