import { type DBSchema, type IDBPDatabase, openDB } from "idb";
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

/** A message as it lies in the database: `open` is there while an answer may grow, so that the index finds those only. */
type Row = MessageRecord & { readonly open?: 1 };

interface Schema extends DBSchema {
  conversations: { key: string; value: ConversationRecord; indexes: { updatedAt: number } };
  messages: { key: string; value: Row; indexes: { conversationId: string; open: number } };
}

/** Keeps conversations in IndexedDB. */
export class IndexedRecords implements Records {
  readonly isKept = true;
  readonly #database: IDBPDatabase<Schema>;

  private constructor(database: IDBPDatabase<Schema>) {
    this.#database = database;
  }

  /** Open the database `name`; rejects where the browser has none or denies it. */
  static async open(name: string): Promise<IndexedRecords> {
    const database = await openDB<Schema>(name, 1, {
      upgrade(created) {
        created.createObjectStore("conversations", { keyPath: "id" }).createIndex("updatedAt", "updatedAt");
        const messages = created.createObjectStore("messages", { keyPath: "id" });
        messages.createIndex("conversationId", "conversationId");
        messages.createIndex("open", "open");
      },
      // A page of a later version waits for this one to let go.
      blocking: (_current, _blocked, event) => (event.target as IDBDatabase).close(),
    });
    return new IndexedRecords(database);
  }

  async listConversations(limit: number): Promise<ConversationRecord[]> {
    const found: ConversationRecord[] = [];
    const index = this.#database.transaction("conversations").store.index("updatedAt");
    for await (const cursor of index.iterate(null, "prev")) {
      if (found.push(cursor.value) >= limit) break;
    }
    return found;
  }

  async messages(conversationId: string): Promise<MessageRecord[]> {
    const rows = await this.#database.getAllFromIndex("messages", "conversationId", conversationId);
    return rows.map(toRecord);
  }

  async openAnswers(limit: number): Promise<AnswerRecord[]> {
    const rows = await this.#database.getAllFromIndex("messages", "open");
    const answers = rows.map(toRecord).filter((message) => message.kind === "answer");
    return answers.sort((a, b) => b.createdAt - a.createdAt).slice(0, limit);
  }

  async putExchange(head: ConversationRecord, question: QuestionRecord, answer: AnswerRecord): Promise<void> {
    await this.restore({ conversation: head, messages: [question, answer] });
  }

  async putAnswer(record: AnswerRecord): Promise<boolean> {
    const transaction = this.#database.transaction("messages", "readwrite");
    const [question, stored] = await Promise.all([
      transaction.store.getKey(record.questionId),
      transaction.store.get(record.id),
    ]);
    const isKept = question !== undefined && (stored?.kind !== "answer" || isFurther(stored, record));
    if (isKept) await transaction.store.put(toRow(record));
    await transaction.done;
    return isKept;
  }

  async restore({ conversation, messages }: Bundle): Promise<void> {
    const transaction = this.#database.transaction(["conversations", "messages"], "readwrite");
    if (conversation !== null) await transaction.objectStore("conversations").put(conversation);
    for (const message of messages) await transaction.objectStore("messages").put(toRow(message));
    await transaction.done;
  }

  async removeConversation(id: string): Promise<Bundle> {
    const transaction = this.#database.transaction(["conversations", "messages"], "readwrite");
    const conversations = transaction.objectStore("conversations");
    const messages = transaction.objectStore("messages");
    const conversation = (await conversations.get(id)) ?? null;
    const rows = await messages.index("conversationId").getAll(id);
    await conversations.delete(id);
    for (const row of rows) await messages.delete(row.id);
    await transaction.done;
    return { conversation, messages: rows.map(toRecord) };
  }

  async removeMessages(ids: readonly string[]): Promise<void> {
    const transaction = this.#database.transaction("messages", "readwrite");
    for (const id of ids) await transaction.store.delete(id);
    await transaction.done;
  }
}

function toRow(message: MessageRecord): Row {
  return message.kind === "answer" && isOpen(message.status) ? { ...message, open: 1 } : message;
}

function toRecord({ open: _, ...message }: Row): MessageRecord {
  return message;
}
