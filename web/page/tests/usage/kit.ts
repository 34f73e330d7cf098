/** Reports for tests. */

import { SourceError } from "../../src/relay/problem.ts";
import { type Report, readReport } from "../../src/usage/report.ts";
import type { UsageQuestion, UsageSource } from "../../src/usage/source.ts";

type Fields = Record<string, unknown>;

/** Returns a line as the relay writes it: so many requests that the engine counted, and that the relay estimated. */
export function lineJSON(group: string, reported: number, estimated = 0, more: Fields = {}): Fields {
  const sum = (requests: number) => ({
    requests,
    prompt_tokens: 100 * requests,
    cached_tokens: 10 * requests,
    completion_tokens: 400 * requests,
    cost_usd: String(requests / 1000),
  });
  return {
    group: { model: group },
    ...sum(reported + estimated),
    generated_tokens: 400 * (reported + estimated),
    delivered_tokens: 390 * (reported + estimated),
    reported: sum(reported),
    estimated: sum(estimated),
    unpriced_requests: 0,
    ...more,
  };
}

export function reportOf(lines: readonly Fields[], total: Fields, hasMore = false): Report {
  const report = readReport({ object: "usage", data: lines, total, has_more: hasMore });
  if (report === null) throw new Error("no report");
  return report;
}

/** A relay that answers with the report of the test. */
export class FakeUsage implements UsageSource {
  answer: Report;
  failure: SourceError | null = null;
  readonly asked: UsageQuestion[] = [];
  readonly names = new Map<string, string>();

  constructor(answer: Report) {
    this.answer = answer;
  }

  async report(question: UsageQuestion): Promise<Report> {
    this.asked.push(question);
    if (this.failure !== null) throw this.failure;
    return this.answer;
  }

  async csv(question: UsageQuestion): Promise<Blob> {
    if (this.failure !== null) throw this.failure;
    return new Blob([`by ${question.by}`]);
  }

  async keyNames(): Promise<ReadonlyMap<string, string>> {
    if (this.names.size === 0) throw new SourceError("forbidden", "admins only");
    return this.names;
  }
}
