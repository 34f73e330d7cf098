import { type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { type AnswerRecord, type AnswerStatus, type Facts, isOpen } from "../store/types.ts";

/** Characters kept of one answer; what is behind them is shown as it comes, and read from the relay after a reload. */
export const MAX_KEPT = 2_000_000;

/** Who draws an answer as it grows. */
export interface AnswerReader {
  /** More text, to stand behind what `text` was. */
  grow(delta: string): void;
  /** The text will grow no more, unless it is resumed: then `epoch` changes. `cut`: it is no whole answer. */
  end(cut: boolean): void;
}

/**
 * One answer: its text so far, how it stands, its figures.
 *
 * Text comes many times a second, so it goes to readers directly; what changes seldom is in signals.
 */
export class Answer {
  readonly #record: AnswerRecord;
  readonly #readers = new Set<AnswerReader>();
  readonly #status: Signal<AnswerStatus>;
  readonly #facts: Signal<Facts>;
  readonly #reasoning: Signal<string>;
  readonly #hasText: Signal<boolean>;
  readonly #epoch: Signal<number> = signal(0);
  #text: string;
  #lastOffset: number;
  /** The longest prefix that may be kept, with the offset that belongs to it. */
  #kept: { text: string; reasoning: string; lastOffset: number };

  constructor(record: AnswerRecord) {
    this.#record = record;
    this.#text = record.text;
    this.#lastOffset = record.lastOffset;
    this.#status = signal(record.status);
    this.#facts = signal(record.facts);
    this.#reasoning = signal(record.reasoning);
    this.#hasText = signal(record.text !== "");
    this.#kept = { text: record.text, reasoning: record.reasoning, lastOffset: record.lastOffset };
  }

  get id(): string {
    return this.#record.id;
  }

  get conversationId(): string {
    return this.#record.conversationId;
  }

  get questionId(): string {
    return this.#record.questionId;
  }

  get streamId(): string {
    return this.#record.streamId;
  }

  get model(): string | null {
    return this.#record.model;
  }

  get createdAt(): number {
    return this.#record.createdAt;
  }

  get text(): string {
    return this.#text;
  }

  get lastOffset(): number {
    return this.#lastOffset;
  }

  get status(): ReadonlySignal<AnswerStatus> {
    return this.#status;
  }

  get facts(): ReadonlySignal<Facts> {
    return this.#facts;
  }

  get reasoning(): ReadonlySignal<string> {
    return this.#reasoning;
  }

  get hasText(): ReadonlySignal<boolean> {
    return this.#hasText;
  }

  /** Changes when readers must begin anew with `text`: it was resumed after an end, or another tab was further. */
  get epoch(): ReadonlySignal<number> {
    return this.#epoch;
  }

  /** Tell `reader` of what comes from now on; returns how to stop that. */
  read(reader: AnswerReader): () => void {
    this.#readers.add(reader);
    return () => this.#readers.delete(reader);
  }

  /** Take what is new, up to and with `lastOffset`. */
  grow(text: string, reasoning: string, lastOffset: number): void {
    this.#text += text;
    this.#lastOffset = lastOffset;
    if (reasoning !== "") this.#reasoning.value += reasoning;
    if (text !== "") this.#hasText.value = true;
    if (this.#text.length + this.#reasoning.value.length <= MAX_KEPT) {
      this.#kept = { text: this.#text, reasoning: this.#reasoning.value, lastOffset };
    }
    if (text !== "") for (const reader of this.#readers) reader.grow(text);
  }

  /** Stand otherwise: an end tells readers so, and going on after an end lets them begin anew. */
  stand(status: AnswerStatus): void {
    const [was, is] = [isOpen(this.#status.value), isOpen(status)];
    this.#status.value = status;
    if (was && !is) for (const reader of this.#readers) reader.end(status.state !== "completed");
    if (!was && is) this.#epoch.value += 1;
  }

  know(facts: Facts): void {
    this.#facts.value = facts;
  }

  /** Take over what another tab kept, where that is further than this. */
  adopt(record: AnswerRecord): void {
    this.#text = record.text;
    this.#lastOffset = record.lastOffset;
    this.#kept = { text: record.text, reasoning: record.reasoning, lastOffset: record.lastOffset };
    this.#reasoning.value = record.reasoning;
    this.#hasText.value = record.text !== "";
    this.#facts.value = record.facts;
    this.#status.value = record.status;
    this.#epoch.value += 1;
  }

  /** Return what is to be kept of it. */
  toRecord(): AnswerRecord {
    return { ...this.#record, ...this.#kept, status: this.#status.value, facts: this.#facts.value };
  }
}
