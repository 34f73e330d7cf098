import type { Facts } from "../store/types.ts";
import { countTokens } from "../words.ts";

/** Return an answer's figures in words, those that are known: `["TTFT 0.42 s", "31 tokens/s", "212 tokens"]`. */
export function figuresOf({ ttftMs, tokensPerSecond, tokens, cost }: Facts): string[] {
  return [
    ttftMs === null ? null : `TTFT ${seconds(ttftMs)}`,
    tokensPerSecond === null ? null : `${rate(tokensPerSecond)} tokens/s`,
    tokens === null ? null : countTokens(tokens),
    cost === null ? null : dollars(cost),
  ].filter((figure) => figure !== null);
}

function seconds(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}

function rate(perSecond: number): string {
  return perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond).toLocaleString("en");
}

/** Answers cost fractions of a cent; two digits that say something are enough. */
function dollars(cost: number): string {
  if (cost === 0) return "$0";
  return cost >= 1 ? `$${cost.toFixed(2)}` : `$${Number(cost.toPrecision(2)).toFixed(Math.max(2, digitsOf(cost)))}`;
}

function digitsOf(cost: number): number {
  return Math.min(10, 1 - Math.floor(Math.log10(cost)));
}
