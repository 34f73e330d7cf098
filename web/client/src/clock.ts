/** Time, passed in so that tests can own it. */

export interface Clock {
  /** Milliseconds since the Unix epoch, monotonic while nobody sets the computer's clock; the same in page and Worker. */
  now(): number;
  /** Calls `run` after `ms` milliseconds; returns what calls it off. */
  after(ms: number, run: () => void): () => void;
}

/** The platform's. A Worker's `performance.now()` begins with the Worker, hence `timeOrigin`. */
export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  after(ms, run) {
    // Longer ones overflow to "at once" (WHATWG HTML 8.6: timeouts are 32-bit).
    const timer = setTimeout(run, Math.min(ms, 2 ** 31 - 1));
    return () => clearTimeout(timer);
  },
};
