/** One stream in the list. */

import { lowered, sharedWords } from "../words.ts";
import { StateBadge } from "./badge.tsx";
import { useEnvironment } from "./environment.ts";
import { formatAge, formatCount, formatDuration, formatMoment, formatRate } from "./format.ts";
import { ageOf, durationOf, rateOf } from "./measures.ts";
import { isRunning, type Stream } from "./stream.ts";
import { endWords } from "./wording.ts";

/** Shown in a cell that has nothing to say; read out as "unknown". */
function Cell({ label, value, kind = "" }: { label: string; value: string | null; kind?: string }) {
  return (
    <td class={`streams-cell streams-number ${kind}`} data-label={label}>
      {value ?? (
        <span class="streams-none">
          <span aria-hidden="true">–</span>
          <span class="streams-hidden">unknown</span>
        </span>
      )}
    </td>
  );
}

export function StreamRow({ stream, nowS }: { stream: Stream; nowS: number }) {
  const shown = (value: number | null, format: (value: number) => string) => (value === null ? null : format(value));
  const end = endWords(stream);
  const { seesAll } = useEnvironment();
  const made = [stream.model, stream.engine].filter((part) => part !== null).join(" on ") || "unknown model";
  const shared = sharedWords(stream.source)?.[0];
  const origin = [
    made,
    shared === undefined ? null : lowered(shared),
    seesAll() && stream.owner !== null ? `for ${stream.owner}` : null,
  ].filter((part) => part !== null);
  return (
    <tr data-stream={stream.id} data-state={stream.state}>
      <td class="streams-cell streams-what">
        <StateBadge state={stream.state} />
        {end !== null && <span class="streams-end">{end}</span>}
      </td>
      <td class="streams-cell streams-who">
        <a href={`#/streams/${stream.id}`}>{stream.id}</a>
        <span class="streams-origin">{origin.join(", ")}</span>
      </td>
      <td
        class="streams-cell streams-number"
        data-label="Started"
        title={shown(stream.createdAt, formatMoment) ?? undefined}
      >
        {shown(ageOf(stream, nowS), formatAge) ?? "unknown"}
      </td>
      <Cell label="Duration" value={shown(durationOf(stream, nowS), formatDuration)} />
      <Cell label="Tokens" value={shown(stream.completionTokens, formatCount)} />
      <Cell label="Tokens/s" value={shown(rateOf(stream, nowS), formatRate)} />
      <Cell kind="streams-while-running" label="Consumers" value={shown(stream.consumers, formatCount)} />
      <Cell
        kind="streams-while-running"
        label="Lag"
        value={isRunning(stream) ? shown(stream.lag, formatCount) : shown(stream.lag || null, formatCount)}
      />
    </tr>
  );
}
