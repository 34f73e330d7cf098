/** What a worker is asked, and what it answers; `error` says why there is no answer. */
export interface Question<Q> {
  readonly id: number;
  readonly ask: Q;
}
export type Answer<A> = { readonly id: number } & ({ readonly answer: A } | { readonly error: string });

export type Work<Q, A> = (ask: Q) => A | Promise<A>;

/** How long a worker that has nothing to do is kept. */
const IDLE_MS = 30_000;

interface Waiting<Q, A> {
  readonly ask: Q;
  readonly resolve: (answer: A) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Has work done aside from the page's thread: by a worker, which is started when first needed and ended when idle, or where
 * none can be had, here.
 */
export class Aside<Q, A> {
  readonly #start: () => Worker;
  readonly #load: () => Promise<Work<Q, A>>;
  readonly #waiting = new Map<number, Waiting<Q, A>>();
  #worker: Worker | null = null;
  #hasWorker = typeof Worker === "function";
  #work: Promise<Work<Q, A>> | null = null;
  #idle: ReturnType<typeof setTimeout> | undefined;
  #last = 0;

  /** `start` makes the worker; `load` brings what it does here. */
  constructor(start: () => Worker, load: () => Promise<Work<Q, A>>) {
    this.#start = start;
    this.#load = load;
  }

  /** Get ready, since a question is likely to come. */
  prepare(): void {
    if (this.#worker !== null || this.#work !== null) return;
    if (this.#begin() !== null) this.#rest();
    else this.#loaded().catch(() => {}); // Told to whoever asks.
  }

  /** Rejects if there is no answer to this, or what makes answers cannot be loaded. */
  ask(ask: Q): Promise<A> {
    const worker = this.#begin();
    if (worker === null) return this.#here(ask);
    return new Promise((resolve, reject) => {
      this.#last += 1;
      this.#waiting.set(this.#last, { ask, resolve, reject });
      clearTimeout(this.#idle);
      const question: Question<Q> = { id: this.#last, ask };
      worker.postMessage(question);
    });
  }

  #begin(): Worker | null {
    if (this.#worker !== null || !this.#hasWorker) return this.#worker;
    try {
      this.#worker = this.#start();
    } catch {
      this.#hasWorker = false; // Not allowed here.
      return null;
    }
    this.#worker.onmessage = ({ data }: MessageEvent<Answer<A>>) => this.#take(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#giveUp();
    };
    return this.#worker;
  }

  #take(answer: Answer<A>): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if ("answer" in answer) waiting?.resolve(answer.answer);
    else waiting?.reject(new Error(answer.error));
    if (this.#waiting.size === 0) this.#rest();
  }

  /** The worker could not be loaded, or died: what it was asked is done here. */
  #giveUp(): void {
    this.#worker?.terminate();
    this.#worker = null;
    this.#hasWorker = false;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { ask, resolve, reject } of waiting) this.#here(ask).then(resolve, reject);
  }

  #rest(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      this.#worker?.terminate();
      this.#worker = null;
    }, IDLE_MS);
  }

  async #here(ask: Q): Promise<A> {
    return (await this.#loaded())(ask);
  }

  #loaded(): Promise<Work<Q, A>> {
    this.#work ??= this.#load();
    return this.#work;
  }
}

/** What is used of a worker's global scope. */
export interface Scope<Q> {
  addEventListener(type: "message", listener: (event: MessageEvent<Question<Q>>) => void): void;
  postMessage(message: unknown): void;
}

/** Answer questions, in a worker. */
export function answer<Q, A>(scope: Scope<Q>, work: Work<Q, A>): void {
  scope.addEventListener("message", async ({ data: { id, ask } }) => {
    let message: Answer<A>;
    try {
      message = { id, answer: await work(ask) };
    } catch (error) {
      message = { id, error: String(error) };
    }
    scope.postMessage(message);
  });
}
