import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { exchangesOf } from "../store/export.ts";
import { isFurther, isOpen, type MessageRecord, type QuestionRecord } from "../store/types.ts";
import { Answer } from "./answer.ts";

/** A question and its answers, oldest first: each Retry adds a version. */
export interface Turn {
  readonly question: QuestionRecord;
  readonly answers: readonly Answer[];
}

/** Versions kept of one answer; a Retry beyond drops the oldest. */
export const MAX_VERSIONS = 8;

/** One conversation as this tab has it. */
export class Thread {
  readonly id: string;
  readonly #turns: Signal<readonly Turn[]> = signal([]);
  readonly #isLoaded: Signal<boolean> = signal(false);
  /** Which version of an answer is looked at, by question; the newest where nothing is said. */
  readonly #shown: Signal<ReadonlyMap<string, string>> = signal(new Map());
  /** The last answer as it is shown. */
  readonly latest: ReadonlySignal<Answer | null>;
  /** The last answer that grows: one at most, unless an earlier one was resumed. */
  readonly growing: ReadonlySignal<Answer | null>;
  #changes = 0;
  /** What stands in the text box. */
  readonly draft: Signal<string> = signal("");

  constructor(id: string) {
    this.id = id;
    this.latest = computed(() => {
      const turn = this.#turns.value.at(-1);
      return turn === undefined ? null : this.shownOf(turn);
    });
    this.growing = computed(() => {
      const newest = this.#turns.value.map(({ answers }) => answers.at(-1));
      return newest.findLast((answer) => answer !== undefined && isOpen(answer.status.value)) ?? null;
    });
  }

  get turns(): ReadonlySignal<readonly Turn[]> {
    return this.#turns;
  }

  /** Counts what was added and cut here: what was read before the last change is out of date. */
  get changes(): number {
    return this.#changes;
  }

  /** False until what is kept of it was read. */
  get isLoaded(): ReadonlySignal<boolean> {
    return this.#isLoaded;
  }

  /** Return the version of a turn's answer that is looked at; null when it has none. */
  shownOf(turn: Turn): Answer | null {
    const chosen = this.#shown.value.get(turn.question.id);
    return turn.answers.find(({ id }) => id === chosen) ?? turn.answers.at(-1) ?? null;
  }

  /** Look at another version of an answer; it is also what the model is told it said. */
  show(answer: Answer): void {
    this.#shown.value = new Map(this.#shown.value).set(answer.questionId, answer.id);
  }

  /** Take what is kept; answers that grow here (`live`), or are known already, stay the objects they are. */
  load(messages: readonly MessageRecord[], live: (answerId: string) => Answer | null): void {
    const known = new Map(this.#answers().map((answer) => [answer.id, answer]));
    this.#turns.value = exchangesOf(messages).map(({ question, answers }) => ({
      question,
      answers: answers.map((record) => {
        const growing = live(record.id);
        if (growing !== null) return growing;
        const answer = known.get(record.id);
        if (answer === undefined) return new Answer(record);
        const isNews = record.lastOffset !== answer.lastOffset || isOpen(record.status) !== isOpen(answer.status.value);
        if (isNews && isFurther(answer.toRecord(), record)) answer.adopt(record);
        return answer;
      }),
    }));
    this.#isLoaded.value = true;
  }

  add(question: QuestionRecord, answer: Answer): void {
    this.#changes += 1;
    this.#turns.value = [...this.#turns.value, { question, answers: [answer] }];
    this.#isLoaded.value = true;
  }

  /** Add a version of the last answer and look at it; returns the ids of versions that are too many. */
  addVersion(answer: Answer): string[] {
    this.#changes += 1;
    const all = [...(this.#turns.value.at(-1)?.answers ?? []), answer];
    const kept = all.slice(-MAX_VERSIONS);
    this.#turns.value = this.#turns.value.map((turn) =>
      turn.question.id === answer.questionId ? { ...turn, answers: kept } : turn,
    );
    this.show(answer);
    return all.slice(0, -MAX_VERSIONS).map(({ id }) => id);
  }

  /** Cut off the turns from place `from` on, and return them. */
  cut(from: number): readonly Turn[] {
    this.#changes += 1;
    const removed = this.#turns.value.slice(from);
    this.#turns.value = this.#turns.value.slice(0, from);
    return removed;
  }

  #answers(): Answer[] {
    return this.#turns.value.flatMap(({ answers }) => answers);
  }
}
