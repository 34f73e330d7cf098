import type { JSX } from "preact";
import { formatCount } from "../streams/format.ts";
import { largestFirst, measureOf } from "./bars.ts";
import { groupWords, headOf } from "./grouping.ts";
import type { Line } from "./report.ts";
import type { Answered } from "./usage_model.ts";
import { type Counted, costTold, countTold, type Told } from "./wording.ts";

const COUNTS: readonly (readonly [name: Counted, head: string])[] = [
  ["requests", "Requests"],
  ["prompt", "Prompt"],
  ["cached", "Cached"],
  ["completion", "Completion"],
];

const HEADS = [...COUNTS.map(([, head]) => head), "Delivered", "Cost"];

/** The report in numbers: groups by their size, days by their order. */
export function UsageTable({ answered }: { answered: Answered }): JSX.Element {
  const { report, grouping } = answered;
  const lines = grouping.name === "day" ? report.lines : largestFirst(report.lines, measureOf(report.total));
  return (
    <table class="ledger-table" aria-label="Usage">
      <thead>
        <tr>
          {[headOf(grouping), ...HEADS].map((head) => (
            <th scope="col" key={head}>
              {head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {lines.map((line) => (
          <Row key={line.group} line={line} name={nameOf(answered, line.group)} />
        ))}
      </tbody>
      <tfoot>
        <Row line={report.total} name="Total" />
      </tfoot>
    </table>
  );
}

/** Return what a group is called in this answer: a key by its name, where that is known. */
export function nameOf({ grouping, keyNames }: Answered, group: string): string {
  return keyNames.get(group) ?? groupWords(grouping, group);
}

function Row({ line, name }: { line: Line; name: string }): JSX.Element {
  return (
    <tr>
      <th scope="row" title={line.group || undefined}>
        {name}
      </th>
      {COUNTS.map(([count, head]) => (
        <Cell key={count} head={head} told={countTold(line, count)} />
      ))}
      <Cell head="Delivered" told={{ main: formatCount(line.delivered), note: null }} />
      <Cell head="Cost" told={costTold(line)} />
    </tr>
  );
}

function Cell({ head, told }: { head: string; told: Told }): JSX.Element {
  return (
    <td data-label={head}>
      {told.main}
      {told.note === null ? null : <small> ({told.note})</small>}
    </td>
  );
}
