import type { AnswerRecord, Bundle, ConversationRecord, MessageRecord, QuestionRecord } from "./types.ts";

/** Where conversations are kept. Calls reject when the storage fails; each call happens whole or not at all. */
export interface Records {
  /** False when what is kept here is gone with the tab. */
  readonly isKept: boolean;
  /** Conversations, newest first, at most `limit`. */
  listConversations(limit: number): Promise<ConversationRecord[]>;
  /** The messages of a conversation, in no order. */
  messages(conversationId: string): Promise<MessageRecord[]>;
  /** Answers that had not ended when they were last written, newest first, at most `limit`. */
  openAnswers(limit: number): Promise<AnswerRecord[]>;
  /** Keep a new question with its conversation's head and its answer. */
  putExchange(conversation: ConversationRecord, question: QuestionRecord, answer: AnswerRecord): Promise<void>;
  /** Keep the answer unless what is kept is further, or its question is gone; resolves to whether it was kept. */
  putAnswer(record: AnswerRecord): Promise<boolean>;
  /** Put back what was removed. */
  restore(bundle: Bundle): Promise<void>;
  /** Remove a conversation and its messages, and return them. */
  removeConversation(id: string): Promise<Bundle>;
  removeMessages(ids: readonly string[]): Promise<void>;
}
