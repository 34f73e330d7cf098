import type { Records } from "./records.ts";
import {
  type AnswerRecord,
  type Bundle,
  type ConversationRecord,
  isFurther,
  isOpen,
  type MessageRecord,
  type QuestionRecord,
} from "./types.ts";

/** Keeps conversations as long as the tab lives: for browsers that let us keep nothing, and for tests. */
export class MemoryRecords implements Records {
  readonly isKept: boolean = false;
  readonly #conversations = new Map<string, ConversationRecord>();
  readonly #messages = new Map<string, MessageRecord>();

  async listConversations(limit: number): Promise<ConversationRecord[]> {
    return [...this.#conversations.values()].sort((a, b) => b.updatedAt - a.updatedAt).slice(0, limit);
  }

  async messages(conversationId: string): Promise<MessageRecord[]> {
    return [...this.#messages.values()].filter((message) => message.conversationId === conversationId);
  }

  async openAnswers(limit: number): Promise<AnswerRecord[]> {
    const answers = [...this.#messages.values()].filter((message) => message.kind === "answer");
    return answers
      .filter((answer) => isOpen(answer.status))
      .sort((a, b) => b.createdAt - a.createdAt)
      .slice(0, limit);
  }

  async putExchange(head: ConversationRecord, question: QuestionRecord, answer: AnswerRecord): Promise<void> {
    await this.restore({ conversation: head, messages: [question, answer] });
  }

  async putAnswer(record: AnswerRecord): Promise<boolean> {
    const stored = this.#messages.get(record.id);
    if (!this.#messages.has(record.questionId)) return false;
    if (stored?.kind === "answer" && !isFurther(stored, record)) return false;
    this.#messages.set(record.id, record);
    return true;
  }

  async restore({ conversation, messages }: Bundle): Promise<void> {
    if (conversation !== null) this.#conversations.set(conversation.id, conversation);
    for (const message of messages) this.#messages.set(message.id, message);
  }

  async removeConversation(id: string): Promise<Bundle> {
    const bundle = { conversation: this.#conversations.get(id) ?? null, messages: await this.messages(id) };
    this.#conversations.delete(id);
    for (const message of bundle.messages) this.#messages.delete(message.id);
    return bundle;
  }

  async removeMessages(ids: readonly string[]): Promise<void> {
    for (const id of ids) this.#messages.delete(id);
  }
}
