/** How the engines do, for admins: one line that can be opened. */

import { useEffect, useState } from "preact/hooks";
import type { EngineHealth } from "./engine.ts";
import { EnginesModel } from "./engines_model.ts";
import { useEnvironment } from "./environment.ts";
import { formatCount, formatCounted, formatDuration } from "./format.ts";
import { UNKNOWN } from "./wording.ts";

const COLUMNS = ["Engine", "State", "Requests", "Failed", "Limited", "TTFT p50", "p90"] as const;

export function Engines() {
  const { source, surroundings } = useEnvironment();
  const [model] = useState(() => new EnginesModel(source, surroundings));
  useEffect(() => {
    model.start();
    return () => model.stop();
  }, [model]);
  const engines = model.engines.value;
  if (engines.length === 0) {
    return null;
  }
  return (
    <details class="streams-engines">
      <summary>Engines: {summaryOf(engines)}</summary>
      <table class="streams-table">
        <thead>
          <tr>
            {COLUMNS.map((column) => (
              <th scope="col" key={column}>
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {engines.map((engine) => (
            <Row key={`${engine.engine} ${engine.model}`} of={engine} />
          ))}
        </tbody>
      </table>
      <p class="streams-note">
        Counts and times are those of the last while (the setting <code>health.window</code>). An engine that rests is
        asked last, and asked all the same when there is no other.
      </p>
    </details>
  );
}

function Row({ of: engine }: { of: EngineHealth }) {
  const cells: readonly (readonly [label: string, value: string])[] = [
    ["Requests", formatCount(engine.requests)],
    ["Failed", formatCount(engine.failed)],
    ["Limited", formatCount(engine.limited)],
    ["TTFT p50", timeWords(engine.firstTokenP50S)],
    ["p90", timeWords(engine.firstTokenP90S)],
  ];
  return (
    <tr data-standing={engine.standing ?? undefined}>
      <td class="streams-cell streams-who">
        {engine.engine}
        {engine.model !== null && <span class="streams-origin">{engine.model}</span>}
      </td>
      <td class="streams-cell streams-what">
        <span class="streams-health">{standingWords(engine)}</span>
        <Reasons of={engine} />
      </td>
      {cells.map(([label, value]) => (
        <td key={label} class="streams-cell streams-number" data-label={label}>
          {value}
        </td>
      ))}
    </tr>
  );
}

function Reasons({ of: { failuresInARow, isSlow, readyInS } }: { of: EngineHealth }) {
  const reasons = [
    readyInS > 0 ? `for ${formatDuration(readyInS)} more` : null,
    failuresInARow > 0 ? `${formatCounted(failuresInARow, "failure", "failures")} in a row` : null,
    isSlow ? "slow" : null,
  ].filter((reason) => reason !== null);
  return reasons.length === 0 ? null : <span class="streams-end">{reasons.join(", ")}</span>;
}

const STANDINGS: Readonly<Record<string, string>> = {
  ready: "Ready",
  probing: "To be tried again",
  resting: "Resting",
};

function standingWords({ standing }: EngineHealth): string {
  return standing === null
    ? UNKNOWN
    : Object.hasOwn(STANDINGS, standing)
      ? (STANDINGS[standing] ?? standing)
      : standing;
}

/** "2 ready", "1 ready, 1 resting". */
function summaryOf(engines: readonly EngineHealth[]): string {
  const words = engines.map((engine) => standingWords(engine).toLowerCase());
  const counted = [...new Set(words)].map((word) => [words.filter((other) => other === word).length, word]);
  return counted.map(([count, word]) => `${count} ${word}`).join(", ");
}

function timeWords(seconds: number | null): string {
  return seconds === null ? "none" : formatDuration(seconds);
}
