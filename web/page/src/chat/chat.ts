import type { Library } from "../store/library.ts";
import type { Sampling } from "../store/settings.ts";
import { type AnswerRecord, type Bundle, NO_FACTS, type QuestionRecord } from "../store/types.ts";
import { Answer } from "./answer.ts";
import { newId } from "./ids.ts";
import { payloadOf } from "./payload.ts";
import type { Runs } from "./runs.ts";
import { Thread, type Turn } from "./thread.ts";

/** How the next question is asked. */
export interface Manner {
  readonly model: string | null;
  readonly system: string;
  readonly sampling: Sampling;
}

export interface ChatOptions {
  readonly library: Library;
  readonly runs: Runs;
  readonly random: Pick<Crypto, "getRandomValues">;
  /** Unix milliseconds. */
  now(): number;
  manner(): Manner;
}

/** Takes back what was just done. */
export type Undo = () => Promise<void>;

/** All conversations of this tab: what a reader can do in them. */
export class Chat {
  readonly #options: ChatOptions;
  readonly #threads = new Map<string, Thread>();
  /** Answers that this tab lost the relay on: they go on by themselves when it is back. */
  readonly #lost = new Map<string, Answer>();

  constructor(options: ChatOptions) {
    this.#options = options;
  }

  newConversationId(): string {
    return newId(this.#options.random);
  }

  /** Return the conversation; one that nobody knows is new and empty. */
  thread(id: string): Thread {
    const known = this.#threads.get(id);
    if (known !== undefined) return known;
    const thread = new Thread(id);
    this.#threads.set(id, thread);
    void this.#load(thread);
    return thread;
  }

  /** Read the list, and follow every answer that had not ended, whichever tab began it. */
  async begin(): Promise<void> {
    await this.#options.library.refresh();
    await this.#followOpen();
  }

  /** Another tab changed a conversation. */
  async changedElsewhere(conversationId: string): Promise<void> {
    const { library } = this.#options;
    await library.refresh();
    const thread = this.#threads.get(conversationId);
    // With a storage that fails, what this tab shows is not there to be read.
    if (thread !== undefined && library.isKept.value) await this.#load(thread);
    await this.#followOpen();
  }

  /** Another tab removed a conversation. */
  async removedElsewhere(conversationId: string): Promise<void> {
    this.#threads.get(conversationId)?.load([], () => null);
    await this.#options.library.refresh();
  }

  /** Ask `text`, behind what was said. */
  ask(thread: Thread, text: string): void {
    const { library } = this.#options;
    const last = thread.turns.value.at(-1);
    const question: QuestionRecord = {
      kind: "question",
      id: newId(this.#options.random),
      conversationId: thread.id,
      position: last === undefined ? 0 : last.question.position + 1,
      createdAt: this.#options.now(),
      text,
    };
    const answer = this.#newAnswer(question);
    const before = thread.turns.value;
    thread.add(question, answer);
    void library.addExchange(question, answer.toRecord());
    this.#run(thread, before, question, answer);
  }

  /** Ask the last question anew; the answer it had stays, as an earlier version. */
  retry(thread: Thread): void {
    const turn = thread.turns.value.at(-1);
    if (turn === undefined || thread.growing.value !== null) return;
    const { library } = this.#options;
    const answer = this.#newAnswer(turn.question);
    const dropped = thread.addVersion(answer);
    void library.saveAnswer(answer.toRecord()).then(() => library.announce(thread.id));
    if (dropped.length > 0) void library.removeMessages(thread.id, dropped);
    this.#run(thread, thread.turns.value.slice(0, -1), turn.question, answer);
  }

  /** Go on behind the last offset. */
  resume(answer: Answer): void {
    this.#lost.delete(answer.id);
    this.#options.runs.attach(answer);
    this.#saveAndAnnounce(answer);
  }

  /** Stop the engine that answers in this conversation. */
  async stop(thread: Thread): Promise<void> {
    const growing = thread.growing.value;
    if (growing !== null) await this.#options.runs.stop(growing.id);
  }

  /** Ask the question at place `index` in other words; what followed it goes, and comes back by undoing. */
  edit(thread: Thread, index: number, text: string): Undo {
    const { library } = this.#options;
    const head = library.conversations.value.find(({ id }) => id === thread.id) ?? null;
    const cut = this.#cut(thread, index);
    this.ask(thread, text);
    return async () => {
      this.#cut(thread, index);
      await library.restore(thread.id, { conversation: head, messages: recordsOf(cut) });
      await this.#load(thread);
    };
  }

  /** Remove a conversation with its answers, stopping those that grow. */
  async remove(conversationId: string): Promise<Undo> {
    const { library } = this.#options;
    const thread = this.#threads.get(conversationId);
    if (thread !== undefined) void this.stop(thread);
    const bundle = await library.removeConversation(conversationId);
    thread?.load([], () => null);
    return () => this.#restore(conversationId, bundle);
  }

  /** An answer ended here: remember it if the relay was lost, and tell other tabs. */
  ended(answer: Answer): void {
    const status = answer.status.value;
    if (status.state === "truncated" && status.canResume) this.#lost.set(answer.id, answer);
    this.#options.library.announce(answer.conversationId);
  }

  /** The relay is back: go on with what was lost. */
  relayIsBack(): void {
    for (const answer of [...this.#lost.values()]) this.resume(answer);
  }

  async #load(thread: Thread): Promise<void> {
    const seen = thread.changes;
    const messages = await this.#options.library.messages(thread.id);
    // What was asked while the disk was read is not among them.
    if (thread.changes !== seen) await this.#load(thread);
    else thread.load(messages, (id) => this.#options.runs.get(id));
  }

  async #followOpen(): Promise<void> {
    for (const record of await this.#options.library.openAnswers()) {
      if (this.#options.runs.has(record.id)) continue;
      this.#options.runs.attach(this.#known(record) ?? new Answer(record));
    }
  }

  #known(record: AnswerRecord): Answer | null {
    const turns = this.#threads.get(record.conversationId)?.turns.value ?? [];
    return turns.flatMap(({ answers }) => answers).find(({ id }) => id === record.id) ?? null;
  }

  async #restore(conversationId: string, bundle: Bundle): Promise<void> {
    await this.#options.library.restore(conversationId, bundle);
    const thread = this.#threads.get(conversationId);
    if (thread !== undefined) await this.#load(thread);
    await this.#followOpen();
  }

  #cut(thread: Thread, index: number): readonly Turn[] {
    void this.stop(thread);
    const cut = thread.cut(index);
    const ids = recordsOf(cut).map(({ id }) => id);
    void this.#options.library.removeMessages(thread.id, ids);
    return cut;
  }

  #newAnswer(question: QuestionRecord): Answer {
    return new Answer({
      kind: "answer",
      id: newId(this.#options.random),
      conversationId: question.conversationId,
      questionId: question.id,
      createdAt: this.#options.now(),
      model: this.#options.manner().model,
      streamId: `chat_${newId(this.#options.random)}`,
      text: "",
      reasoning: "",
      lastOffset: -1,
      status: { state: "waiting" },
      facts: NO_FACTS,
    });
  }

  #run(thread: Thread, before: readonly Turn[], question: QuestionRecord, answer: Answer): void {
    const said = before.map((turn) => ({ question: turn.question.text, answer: thread.shownOf(turn)?.text ?? "" }));
    this.#options.runs.start(answer, payloadOf({ ...this.#options.manner(), before: said, question: question.text }));
  }

  #saveAndAnnounce(answer: Answer): void {
    const { library } = this.#options;
    void library.saveAnswer(answer.toRecord()).then(() => library.announce(answer.conversationId));
  }
}

/** Return the records of turns, answers that grow as they are now. */
function recordsOf(turns: readonly Turn[]): Bundle["messages"] {
  return turns.flatMap(({ question, answers }) => [question, ...answers.map((answer) => answer.toRecord())]);
}
