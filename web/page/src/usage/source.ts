/** What the Usage view needs of the relay. */

import type { Api } from "../relay/api.ts";
import { isObject } from "../relay/json.ts";
import { SourceError } from "../relay/problem.ts";
import { type Days, dayAfter } from "./period.ts";
import { MAX_LINES, type Report, readReport } from "./report.ts";

export interface UsageQuestion {
  readonly days: Days;
  /** As the relay calls it: `model`, `tag:team`. */
  readonly by: string;
}

/** Its calls reject with a `SourceError`, save when they were aborted. */
export interface UsageSource {
  report(question: UsageQuestion, signal: AbortSignal): Promise<Report>;
  csv(question: UsageQuestion): Promise<Blob>;
  /** Names of keys by their ids; admins only. */
  keyNames(signal: AbortSignal): Promise<ReadonlyMap<string, string>>;
}

export class RelayUsage implements UsageSource {
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  async report(question: UsageQuestion, signal: AbortSignal): Promise<Report> {
    const report = readReport(await this.#api.json("GET", pathOf(question, { limit: String(MAX_LINES) }), { signal }));
    if (report === null) throw new SourceError("refused", "the relay answered something that is no usage");
    return report;
  }

  csv(question: UsageQuestion): Promise<Blob> {
    return this.#api.file(pathOf(question, { format: "csv" }), "text/csv");
  }

  async keyNames(signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    const body = await this.#api.json("GET", "/v1/keys", { signal });
    const keys: unknown[] = isObject(body) && Array.isArray(body.data) ? body.data : [];
    return new Map(
      keys.flatMap((key) => (isObject(key) ? [[String(key.id), String(key.name || key.id)] as const] : [])),
    );
  }
}

function pathOf({ days, by }: UsageQuestion, more: Readonly<Record<string, string>>): string {
  return `/v1/usage?${new URLSearchParams({ since: days.first, until: dayAfter(days.last), by, ...more })}`;
}
