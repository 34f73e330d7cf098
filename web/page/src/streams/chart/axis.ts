/** Round numbers along an axis. */

/** Steps of time that people count in, seconds. */
const TIME_STEPS_S = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
  10_800, 21_600, 43_200, 86_400,
] as const;

/** Returns the smallest step of time with which an axis has at most `most` steps. */
export function timeStep(spanS: number, most: number): number {
  const step = TIME_STEPS_S.find((candidate) => spanS / candidate <= most);
  return step ?? 86_400 * Math.ceil(spanS / 86_400 / Math.max(1, most));
}

/** Returns the multiples of a step from 0 to `span`. */
export function ticks(span: number, step: number): number[] {
  return Array.from({ length: Math.floor(span / step + 1e-9) + 1 }, (_, index) => index * step);
}

/** Returns the least of 1, 2, 3, 4, 5, 6, 8 times a power of ten that is not below `value`: the top of a scale. */
export function roundTop(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  const factor = [1, 2, 3, 4, 5, 6, 8, 10].find((candidate) => candidate * power >= value) ?? 10;
  return factor * power;
}
