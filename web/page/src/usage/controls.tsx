import type { JSX } from "preact";
import { type GroupingName, groupingsFor } from "./grouping.ts";
import { type Days, PERIODS, type PeriodName } from "./period.ts";
import type { Choice, UsageModel } from "./usage_model.ts";

interface ControlsProps {
  readonly model: UsageModel;
  readonly isAdmin: boolean;
}

/** What to look at: which days, told apart by what. */
export function Controls({ model, isAdmin }: ControlsProps): JSX.Element {
  const { choice, fault } = model.state.value;
  return (
    <form class="ledger-controls" aria-label="What to show" onSubmit={(event) => event.preventDefault()}>
      <Periods model={model} choice={choice} />
      <div class="field">
        <label for="usage-by">Group by</label>
        <select
          id="usage-by"
          value={choice.grouping.name}
          onChange={({ currentTarget }) =>
            model.choose({ grouping: { ...choice.grouping, name: currentTarget.value as GroupingName } })
          }
        >
          {groupingsFor(isAdmin).map(([name, words]) => (
            <option key={name} value={name}>
              {words}
            </option>
          ))}
        </select>
      </div>
      {choice.grouping.name === "tag" ? <TagName model={model} choice={choice} /> : null}
      {choice.period === "custom" ? <Dates model={model} days={choice.custom} /> : null}
      {fault === null ? null : (
        <p class="hint is-wrong" role="status">
          {fault}
        </p>
      )}
    </form>
  );
}

function Periods({ model, choice }: { model: UsageModel; choice: Choice }): JSX.Element {
  return (
    <div class="field">
      <label for="usage-period">Period</label>
      <select
        id="usage-period"
        value={choice.period}
        onChange={({ currentTarget }) => model.choose({ period: currentTarget.value as PeriodName })}
      >
        {PERIODS.map(([name, words]) => (
          <option key={name} value={name}>
            {words}
          </option>
        ))}
      </select>
    </div>
  );
}

function TagName({ model, choice }: { model: UsageModel; choice: Choice }): JSX.Element {
  return (
    <div class="field">
      <label for="usage-tag">Tag</label>
      <input
        id="usage-tag"
        type="text"
        maxLength={64}
        autocomplete="off"
        spellcheck={false}
        placeholder="team"
        value={choice.grouping.tag}
        onChange={({ currentTarget }) =>
          model.choose({ grouping: { ...choice.grouping, tag: currentTarget.value.trim() } })
        }
      />
    </div>
  );
}

function Dates({ model, days }: { model: UsageModel; days: Days }): JSX.Element {
  const input = (name: keyof Days, words: string) => (
    <div class="field">
      <label for={`usage-${name}`}>{words}</label>
      <input
        id={`usage-${name}`}
        type="date"
        value={days[name]}
        onChange={({ currentTarget }) => model.choose({ custom: { ...days, [name]: currentTarget.value } })}
      />
    </div>
  );
  return (
    <>
      {input("first", "First day")}
      {input("last", "Last day")}
    </>
  );
}
