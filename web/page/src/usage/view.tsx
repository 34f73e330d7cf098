/** The Usage view: what was used, and what it cost. */

import type { ReadonlySignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { type Caller, isAdmin } from "../relay/caller.ts";
import { ProblemNotice } from "../shell/problem_notice.tsx";
import { dayBars, groupBars, measureOf } from "./bars.ts";
import { OwnBudget } from "./budget.tsx";
import { Chart } from "./chart.tsx";
import { Controls } from "./controls.tsx";
import { nounOf } from "./grouping.ts";
import { daysInWords, eachOf } from "./period.ts";
import type { UsageSource } from "./source.ts";
import { nameOf, UsageTable } from "./table.tsx";
import { type Answered, UsageModel, type UsageState, type UsageSurroundings } from "./usage_model.ts";

export interface UsageEnvironment extends UsageSurroundings {
  readonly source: UsageSource;
  readonly caller: ReadonlySignal<Caller | null>;
  /** Asks anew who the reader is, and what they spent. */
  identify(): void;
  /** Asks the reader for a key. */
  askForKey(): void;
}

interface ViewProps {
  readonly environment: UsageEnvironment;
  /** Changes with the key in use: everything is asked anew then. */
  readonly epoch: unknown;
}

export function View({ environment, epoch }: ViewProps): JSX.Element {
  const [model] = useState(() => new UsageModel(environment.source, environment));
  const state = model.state.value;
  const caller = environment.caller.value;
  const refresh = () => {
    environment.identify();
    void model.load();
  };
  // Another key sees other usage.
  useEffect(() => {
    refresh();
    return () => model.stop();
  }, [model, epoch]);
  return (
    <section class="ledger" aria-labelledby="usage-title">
      <header class="ledger-head">
        <h1 id="usage-title">Usage</h1>
        <p class="hint" role="status">
          {standing(state, caller)}
        </p>
        <div class="ledger-acts">
          <button type="button" class="button" onClick={refresh}>
            Refresh
          </button>
          <button
            type="button"
            class="button"
            aria-disabled={state.isSaving || state.fault !== null}
            onClick={() => void model.download()}
          >
            {state.isSaving ? "Saving…" : "Download CSV"}
          </button>
        </div>
      </header>
      <OwnBudget caller={caller} />
      <Controls model={model} isAdmin={isAdmin(caller)} />
      {state.problem === null ? null : (
        <ProblemNotice problem={state.problem} onRetry={refresh} onKey={environment.askForKey} />
      )}
      {state.answered === null ? null : <Shown answered={state.answered} isStale={state.isAsking} />}
    </section>
  );
}

function Shown({ answered, isStale }: { answered: Answered; isStale: boolean }): JSX.Element {
  const { report, days } = answered;
  const isByDay = answered.grouping.name === "day";
  const measure = measureOf(report.total);
  const bars = useMemo(
    () =>
      isByDay
        ? dayBars(report.lines, eachOf(days), measure)
        : groupBars(report.lines, (group) => nameOf(answered, group), measure),
    [answered],
  );
  if (report.lines.length === 0) {
    return (
      <div class="notice">
        <p class="notice-title">Nothing was used in this time</p>
        <p>Every answer counts once it has ended.</p>
      </div>
    );
  }
  return (
    <div class="usage-shown" aria-busy={isStale}>
      <Chart bars={bars} measure={measure} by={nounOf(answered.grouping)} isByDay={isByDay} />
      <UsageTable answered={answered} />
      {report.hasMore ? (
        <p class="hint">
          There are more groups than are listed here, and the total is of all; a CSV file lists more of them.
        </p>
      ) : null}
      <p class="hint">
        Days are UTC's, and a request counts on the day on which it was accepted. What an engine did not report is
        estimated by the relay's own count.
      </p>
    </div>
  );
}

function standing({ answered, isAsking, problem }: UsageState, caller: Caller | null): string {
  if (isAsking && answered === null) return "Loading…";
  if (answered === null || problem !== null) return "";
  const whose = isAdmin(caller) ? "all owners" : (caller?.owner ?? "");
  return [daysInWords(answered.days), whose].filter((part) => part !== "").join(", ");
}
