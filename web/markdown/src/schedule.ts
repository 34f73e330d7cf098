import type { Wait } from "./math/formulas.ts";
import type { Schedule } from "./options.ts";

/** How long a frame may be late before a timer draws in its place: a hidden tab has none. */
const LATE_MS = 250;
const FRAME_MS = 16;

/** The next animation frame, or a timer if there is none. */
export function frameOrTimer(window: Window): Schedule {
  const watch = new LateWatch(window);
  return (draw, restMs) => {
    let isDone = false;
    let frame: number | undefined;
    let rest: number | undefined;
    const once = () => {
      if (isDone) return;
      cancel();
      draw();
    };
    const cancel = () => {
      isDone = true;
      watch.forget(once);
      window.clearTimeout(rest);
      if (frame !== undefined) window.cancelAnimationFrame(frame);
    };
    const request = () => {
      frame = window.requestAnimationFrame?.(once);
      watch.start(once);
    };
    // Frames that would draw nothing are not asked for: each costs the page some time.
    if (restMs > FRAME_MS) rest = window.setTimeout(request, restMs - FRAME_MS / 2);
    else request();
    return cancel;
  };
}

/** Calls what its frame is late for. One timer serves many frames: setting one in each would cost more than drawing a word. */
class LateWatch {
  readonly #window: Window;
  #late: (() => void) | null = null;
  #isNew = false;
  #timer: number | null = null;

  constructor(window: Window) {
    this.#window = window;
  }

  start(draw: () => void): void {
    this.#late = draw;
    this.#isNew = true;
    this.#timer ??= this.#window.setTimeout(
      this.#look,
      this.#window.requestAnimationFrame === undefined ? FRAME_MS : LATE_MS,
    );
  }

  forget(draw: () => void): void {
    if (this.#late === draw) this.#late = null;
  }

  readonly #look = (): void => {
    this.#timer = null;
    const draw = this.#late;
    if (draw === null) return;
    if (!this.#isNew || this.#window.requestAnimationFrame === undefined) {
      draw();
      return;
    }
    this.#isNew = false;
    this.#timer = this.#window.setTimeout(this.#look, LATE_MS);
  };
}

/** The window's timers. */
export function waitIn(window: Window): Wait {
  return (ms, then) => {
    const timer = window.setTimeout(then, ms);
    return () => window.clearTimeout(timer);
  };
}
