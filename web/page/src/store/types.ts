/** What is kept of conversations: one record a message, so that two tabs never overwrite each other's. */

import type { StreamStatus } from "@headrace/client";

/** How an answer stands: a status of the client, which also says how it ended. */
export type AnswerStatus = StreamStatus;

/** A conversation's head; its messages are records of their own. */
export interface ConversationRecord {
  readonly id: string;
  /** Made of the first question. */
  readonly title: string;
  /** Unix milliseconds. */
  readonly createdAt: number;
  /** Unix milliseconds of the last question. */
  readonly updatedAt: number;
}

export interface QuestionRecord {
  readonly kind: "question";
  readonly id: string;
  readonly conversationId: string;
  /** Place in the conversation: 0, 1, 2, …; questions of two tabs may share one, then `createdAt` orders them. */
  readonly position: number;
  readonly createdAt: number;
  readonly text: string;
}

export interface AnswerRecord {
  readonly kind: "answer";
  readonly id: string;
  readonly conversationId: string;
  readonly questionId: string;
  readonly createdAt: number;
  /** The model that was asked; null for the relay's default. */
  readonly model: string | null;
  /** The relay's stream behind this answer. */
  readonly streamId: string;
  readonly text: string;
  readonly reasoning: string;
  /** Offset of the last entry that `text` and `reasoning` contain; -1 for none. */
  readonly lastOffset: number;
  readonly status: AnswerStatus;
  readonly facts: Facts;
}

export type MessageRecord = QuestionRecord | AnswerRecord;

/** Figures of an answer; null where nobody knows. */
export interface Facts {
  readonly tokens: number | null;
  readonly ttftMs: number | null;
  readonly tokensPerSecond: number | null;
  /** As the engine's usage says, in US dollars. */
  readonly cost: number | null;
  /** As the relay charges; absent where it was not asked, as in what older versions of this page kept. */
  readonly bill?: AnswerBill | null;
  /** Absent likewise. */
  readonly origin?: AnswerOrigin | null;
}

/** Where an answer came from. */
export interface AnswerOrigin {
  readonly engine: string;
  /** What that calls the model; null when it decides. */
  readonly engineModel: string | null;
  /** As the relay calls it: "engine", "joined", "repeated", "cache". */
  readonly source: string;
  /** How many engines were asked, one after the other, the same one again included. */
  readonly attempts: number;
  /** How often it broke off and went on. */
  readonly seams: number;
}

/** What the relay charges for an answer; null where it does not tell. */
export interface AnswerBill {
  /** US dollars; null where no price of the model is known. */
  readonly usd: number | null;
  /** The tokens are the relay's own count, at least in part. */
  readonly isEstimated: boolean;
  /** What was charged of an answer that was cut off, as the relay calls it: "delivered", "generated" or "vendor". */
  readonly rule: string | null;
  readonly promptTokens: number | null;
  /** Those of the prompt that the engine had in a cache. */
  readonly cachedTokens: number | null;
  readonly completionTokens: number | null;
  /** What the engine made, and what clients were given, as the relay counts. */
  readonly generatedTokens: number | null;
  readonly deliveredTokens: number | null;
}

export const NO_FACTS: Facts = { tokens: null, ttftMs: null, tokensPerSecond: null, cost: null };

/** A conversation with all that belongs to it: what removing returns, and what putting back takes. */
export interface Bundle {
  readonly conversation: ConversationRecord | null;
  readonly messages: readonly MessageRecord[];
}

/** True while the answer may still grow. */
export function isOpen(status: AnswerStatus): boolean {
  return status.state === "waiting" || status.state === "streaming" || status.state === "reconnecting";
}

/** True for an end that the relay or its engine told; what this side gave up on may still go on. */
export function isFinal(status: AnswerStatus): boolean {
  return !isOpen(status) && !(status.state === "truncated" && status.canResume);
}

/**
 * Return whether `next` knows more of one answer than `stored`.
 *
 * Tabs that follow the same stream write the same record; what is behind must not undo what is ahead.
 */
export function isFurther(stored: AnswerRecord | undefined, next: AnswerRecord): boolean {
  if (stored === undefined) return true;
  if (isFinal(stored.status) !== isFinal(next.status)) return isFinal(next.status);
  return next.lastOffset >= stored.lastOffset;
}
