import { type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Tabs } from "./channel.ts";
import type { Records } from "./records.ts";
import type { AnswerRecord, Bundle, ConversationRecord, MessageRecord, QuestionRecord } from "./types.ts";

/** Conversations shown in the sidebar; older ones stay in the database. */
const MAX_LISTED = 500;
/** Answers followed again after a reload; a browser that left more running lets the rest end by their linger. */
const MAX_OPEN = 64;
const MAX_TITLE = 60;

/**
 * The conversations of this browser: what is listed, what is kept, what other tabs hear of it.
 *
 * A failing storage never stops a conversation: it goes on in memory, and `isKept` says so.
 */
export class Library {
  readonly #records: Records;
  readonly #tabs: Tabs;
  readonly #conversations: Signal<readonly ConversationRecord[]> = signal([]);
  readonly #isKept: Signal<boolean>;
  /** Counts reads and own changes: a read that a change overtook is thrown away. */
  #reads = 0;

  constructor(records: Records, tabs: Tabs) {
    this.#records = records;
    this.#tabs = tabs;
    this.#isKept = signal(records.isKept);
  }

  /** Conversations, newest first. */
  get conversations(): ReadonlySignal<readonly ConversationRecord[]> {
    return this.#conversations;
  }

  /** False when conversations are lost with the tab: the browser keeps nothing here, or keeping failed. */
  get isKept(): ReadonlySignal<boolean> {
    return this.#isKept;
  }

  /** Read the list again. */
  async refresh(): Promise<void> {
    const read = ++this.#reads;
    const found = await this.#try(() => this.#records.listConversations(MAX_LISTED), null);
    if (found !== null && read === this.#reads) this.#conversations.value = found;
  }

  messages(conversationId: string): Promise<MessageRecord[]> {
    return this.#try(() => this.#records.messages(conversationId), []);
  }

  openAnswers(): Promise<AnswerRecord[]> {
    return this.#try(() => this.#records.openAnswers(MAX_OPEN), []);
  }

  /** Keep a question and its answer; the first one names its conversation, every one brings it to the top. */
  async addExchange(question: QuestionRecord, answer: AnswerRecord): Promise<void> {
    const known = this.#conversations.value.find(({ id }) => id === question.conversationId);
    const head: ConversationRecord = {
      id: question.conversationId,
      title: question.position === 0 || known === undefined ? titleOf(question.text) : known.title,
      createdAt: known?.createdAt ?? question.createdAt,
      updatedAt: question.createdAt,
    };
    this.#reads += 1;
    this.#conversations.value = [head, ...this.#conversations.value.filter(({ id }) => id !== head.id)];
    await this.#try(() => this.#records.putExchange(head, question, answer), undefined);
    this.announce(head.id);
  }

  /** Keep how far an answer is, unless another tab kept more. */
  async saveAnswer(answer: AnswerRecord): Promise<void> {
    await this.#try(() => this.#records.putAnswer(answer), false);
  }

  /** Tell other tabs that a conversation has changed. */
  announce(conversationId: string): void {
    this.#tabs.post({ type: "changed", conversationId });
  }

  /** Remove a conversation; what is returned puts it back. */
  async removeConversation(id: string): Promise<Bundle> {
    this.#reads += 1;
    this.#conversations.value = this.#conversations.value.filter((conversation) => conversation.id !== id);
    const bundle = await this.#try(() => this.#records.removeConversation(id), { conversation: null, messages: [] });
    this.#tabs.post({ type: "removed", conversationId: id });
    return bundle;
  }

  async removeMessages(conversationId: string, ids: readonly string[]): Promise<void> {
    await this.#try(() => this.#records.removeMessages(ids), undefined);
    this.announce(conversationId);
  }

  async restore(conversationId: string, bundle: Bundle): Promise<void> {
    await this.#try(() => this.#records.restore(bundle), undefined);
    await this.refresh();
    this.announce(conversationId);
  }

  async #try<Found>(call: () => Promise<Found>, otherwise: Found): Promise<Found> {
    try {
      return await call();
    } catch {
      // Storage full, evicted or denied: the conversation goes on in this tab, and the page says that it is not kept.
      this.#isKept.value = false;
      return otherwise;
    }
  }
}

/** Return the title that a first question gives: its first line with words in it, cut at a word. */
export function titleOf(text: string): string {
  const line = text.split("\n").find((part) => part.trim() !== "") ?? "";
  const words = line.trim().replace(/\s+/g, " ");
  if (words === "") return "Untitled";
  if (words.length <= MAX_TITLE) return words;
  const cut = words.slice(0, MAX_TITLE);
  const space = cut.lastIndexOf(" ");
  return `${space > MAX_TITLE / 2 ? cut.slice(0, space) : cut}…`;
}
