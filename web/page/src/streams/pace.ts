/** How long to wait before asking the relay again, in milliseconds. */

/** While something runs. */
export const BUSY_MS = 1000;

/** While nothing does. */
export const IDLE_MS = 5000;

/** Once a stream that is looked at has ended. */
export const ENDED_MS = 10_000;

const LONGEST_RETRY_MS = 15_000;

/** Returns the wait after the nth failure in a row, 1 or more: 1, 2, 4, 8, 15 seconds. */
export function retryMs(failures: number): number {
  return Math.min(LONGEST_RETRY_MS, BUSY_MS * 2 ** Math.min(10, Math.max(0, failures - 1)));
}
