/** Numbers as people read them. Null is told as "unknown" by whoever shows it, never here. */

const COUNT = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const SHORT_COUNT = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB"] as const;
const AGE_UNITS: readonly (readonly [unit: string, seconds: number])[] = [
  ["d", 86_400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
];

/** 1234567 -> "1,234,567". */
export function formatCount(count: number): string {
  return COUNT.format(count);
}

/** For scales, where room is short: 30000 -> "30K". */
export function formatShortCount(count: number): string {
  return count < 10_000 ? formatCount(count) : SHORT_COUNT.format(count);
}

/** Returns the count and its noun: "1 entry", "3 entries". */
export function formatCounted(count: number, one: string, many: string): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** 0.0034 -> "3 ms", 2.345 -> "2.35 s", 75.2 -> "1 min 15 s", 7260 -> "2 h 1 min", 180000 -> "2 d 2 h". */
export function formatDuration(seconds: number): string {
  if (seconds < 0.9995) {
    return `${Math.round(seconds * 1000)} ms`;
  }
  if (seconds < 59.95) {
    return `${seconds.toFixed(seconds < 9.995 ? 2 : 1)} s`;
  }
  const whole = Math.round(seconds);
  if (whole < 3600) {
    return joined(Math.floor(whole / 60), "min", whole % 60, "s");
  }
  const minutes = Math.floor(whole / 60);
  if (minutes < 1440) {
    return joined(Math.floor(minutes / 60), "h", minutes % 60, "min");
  }
  return joined(Math.floor(minutes / 1440), "d", Math.floor((minutes % 1440) / 60), "h");
}

/** Returns an age in its largest whole unit: "just now", "12 s ago", "3 min ago", "5 h ago", "2 d ago". */
export function formatAge(seconds: number): string {
  const found = AGE_UNITS.find(([, size]) => seconds >= size);
  return found === undefined ? "just now" : `${Math.floor(seconds / found[1])} ${found[0]} ago`;
}

/** SI units, as the relay's own counters: 999 -> "999 B", 1234 -> "1.23 kB", 45600000 -> "45.6 MB". */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${BYTE_UNITS[unit] ?? ""}`;
}

/** Tokens a second: 3.456 -> "3.5", 151.7 -> "152". */
export function formatRate(perSecond: number): string {
  return perSecond < 9.95 ? perSecond.toFixed(1) : formatCount(perSecond);
}

/** Returns a moment in the reader's own time zone and way of writing. */
export function formatMoment(unixS: number, locale?: string): string {
  return new Date(unixS * 1000).toLocaleString(locale, { dateStyle: "medium", timeStyle: "medium" });
}

/** Returns a time on the axis: ticks of one axis share `stepS`, so that they have as many digits. */
export function formatTick(seconds: number, stepS: number): string {
  if (seconds === 0) {
    return "0";
  }
  if (stepS >= 60) {
    return formatDuration(seconds);
  }
  if (stepS >= 1) {
    return seconds < 60 ? `${Math.round(seconds)} s` : formatDuration(seconds);
  }
  return stepS < 0.1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
}

function joined(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}
