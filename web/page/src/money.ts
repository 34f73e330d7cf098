/** US dollars in words. The relay writes amounts as decimal strings, so that it loses no digit; people need fewer. */

/** Shown where the relay knows no price of a model: the amount is not zero, it is not known. */
export const NO_PRICE = "no price known";

const LARGE = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** Most digits behind the point: bills are whole nano-dollars. */
const MOST_DIGITS = 9;

/** Return the amount that the relay's JSON gives, as a string or a number; null for anything else. */
export function amountOf(value: unknown): number | null {
  if (typeof value === "number") return Number.isFinite(value) ? value : null;
  if (typeof value !== "string" || !/^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(value)) return null;
  const amount = Number(value);
  return Number.isFinite(amount) ? amount : null;
}

/**
 * Return what was spent: `"$1,234.56"`, `"$0.50"`, `"$0.0035"`, `"$0.0000021"`, `"$0"`.
 *
 * Below a dollar two digits that say something are kept, so what cost anything is never `"$0.00"`.
 */
export function formatMoney(amount: number): string {
  if (amount === 0) return "$0";
  const sign = amount < 0 ? "-" : "";
  const size = Math.abs(amount);
  if (size >= 1) return `${sign}$${LARGE.format(size)}`;
  const rounded = Number(size.toPrecision(2));
  const digits = Math.max(2, 1 - Math.floor(Math.log10(rounded)));
  return digits > MOST_DIGITS ? `${sign}$${finest(size)}` : `${sign}$${rounded.toFixed(digits)}`;
}

/** Return a cost that may be estimated: `"about $0.0035"`. Nothing is nothing, whoever counted. */
export function formatCost(amount: number, isEstimated: boolean): string {
  return isEstimated && amount !== 0 ? `about ${formatMoney(amount)}` : formatMoney(amount);
}

const EXACT = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: MOST_DIGITS });

/** Return what may be spent, to the last digit, as it was set: `"$10"`, `"$2.50"`, `"$0.0001"`. */
export function formatLimit(amount: number): string {
  return `$${Number.isInteger(amount) ? amount.toLocaleString("en-US") : EXACT.format(amount)}`;
}

/** Amounts of a few nano-dollars have but one digit that says something. */
function finest(size: number): string {
  return Math.max(size, 10 ** -MOST_DIGITS).toFixed(MOST_DIGITS);
}
