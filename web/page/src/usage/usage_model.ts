/** What was used: the question that is asked, and the relay's answer to it. */

import { type ReadonlySignal, signal } from "@preact/signals";
import { type Problem, problemOf } from "../relay/problem.ts";
import { type Grouping, wireOf } from "./grouping.ts";
import { type Days, dayOf, daysOf, faultOf, fileNameOf, type PeriodName } from "./period.ts";
import type { Report } from "./report.ts";
import type { UsageQuestion, UsageSource } from "./source.ts";

/** What the reader chose. */
export interface Choice {
  readonly period: PeriodName;
  /** The days of the period "custom". */
  readonly custom: Days;
  readonly grouping: Grouping;
}

/** An answer, with what it answers. */
export interface Answered {
  readonly days: Days;
  readonly grouping: Grouping;
  readonly report: Report;
  /** Names of keys by their ids, where they are grouped by and the reader may know them. */
  readonly keyNames: ReadonlyMap<string, string>;
}

export interface UsageState {
  readonly choice: Choice;
  /** Null: none yet. It stays while another one is asked for. */
  readonly answered: Answered | null;
  readonly isAsking: boolean;
  /** Why the last question got no answer. */
  readonly problem: Problem | null;
  /** Why the choice is no question yet. */
  readonly fault: string | null;
  readonly isSaving: boolean;
}

export interface UsageSurroundings {
  /** Wall clock in milliseconds. */
  nowMs(): number;
  /** Whether the reader may see the names of keys. */
  isAdmin(): boolean;
  /** Lets the browser save a file. */
  save(name: string, file: Blob): void;
}

export class UsageModel {
  readonly #state;
  readonly #source: UsageSource;
  readonly #around: UsageSurroundings;
  #abort = new AbortController();

  constructor(source: UsageSource, around: UsageSurroundings) {
    this.#source = source;
    this.#around = around;
    const today = dayOf(around.nowMs());
    this.#state = signal<UsageState>({
      choice: { period: "month", custom: { first: today, last: today }, grouping: { name: "model", tag: "" } },
      answered: null,
      isAsking: false,
      problem: null,
      fault: null,
      isSaving: false,
    });
  }

  get state(): ReadonlySignal<UsageState> {
    return this.#state;
  }

  /** Choose otherwise, and ask. Who begins with dates of their own begins with those just shown. */
  choose(change: Partial<Choice>): void {
    const { choice } = this.#state.value;
    const begins = change.period === "custom" && choice.period !== "custom";
    const custom = begins ? daysOf(choice.period, choice.custom, this.#around.nowMs()) : choice.custom;
    this.#set({ choice: { ...choice, custom, ...change } });
    void this.load();
  }

  /** Ask for what is chosen; an answer that is still under way is dropped. */
  async load(): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal: aborting } = this.#abort;
    const { grouping } = this.#state.value.choice;
    const { question, fault } = this.#question();
    this.#set({ fault, isAsking: question !== null });
    if (question === null) return;
    try {
      const [report, keyNames] = await Promise.all([
        this.#source.report(question, aborting),
        this.#keyNames(grouping, aborting),
      ]);
      if (aborting.aborted) return;
      const answered = { days: question.days, grouping, report, keyNames };
      this.#set({ answered, problem: null, isAsking: false });
    } catch (error) {
      if (!aborting.aborted) this.#set({ problem: problemOf(error), isAsking: false });
    }
  }

  /** Save what is chosen as a CSV file. */
  async download(): Promise<void> {
    const { choice, isSaving } = this.#state.value;
    const { question } = this.#question();
    if (question === null || isSaving) return;
    this.#set({ isSaving: true });
    try {
      const file = await this.#source.csv(question);
      this.#around.save(fileNameOf(choice.period, question.days), file);
      this.#set({ isSaving: false });
    } catch (error) {
      this.#set({ isSaving: false, problem: problemOf(error) });
    }
  }

  /** Ask no more. */
  stop(): void {
    this.#abort.abort();
  }

  #question(): { question: UsageQuestion | null; fault: string | null } {
    const { period, custom, grouping } = this.#state.value.choice;
    const days = daysOf(period, custom, this.#around.nowMs());
    const by = wireOf(grouping);
    const fault = faultOf(days) ?? (by === null ? "Enter the name of a tag: letters, digits, dots, _ and -." : null);
    return fault === null && by !== null ? { question: { days, by }, fault } : { question: null, fault };
  }

  async #keyNames(grouping: Grouping, aborting: AbortSignal): Promise<ReadonlyMap<string, string>> {
    if (grouping.name !== "key" || !this.#around.isAdmin()) return new Map();
    // Ids say it too: usage is not kept back for want of names.
    return this.#source.keyNames(aborting).catch(() => new Map());
  }

  #set(change: Partial<UsageState>): void {
    this.#state.value = { ...this.#state.value, ...change };
  }
}
