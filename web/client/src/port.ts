/** Two ends that tell each other things: page and Worker, or both on one thread. */

/** One end of a line of messages: takes `In`, gives `Out`. */
export interface Port<In, Out> {
  post(message: Out): void;
  /** Set once. */
  onMessage: (message: In) => void;
  close(): void;
}

/** Returns two ends on one thread. Messages arrive in order, as tasks of their own, as they would from a Worker. */
export function portPair<A, B>(): [Port<A, B>, Port<B, A>] {
  const left = new LocalPort<A, B>();
  const right = new LocalPort<B, A>();
  left.peer = right;
  right.peer = left;
  return [left, right];
}

class LocalPort<In, Out> implements Port<In, Out> {
  peer: LocalPort<Out, In> | null = null;
  onMessage: (message: In) => void = () => {};
  #isClosed = false;

  post(message: Out): void {
    const { peer } = this;
    queueMicrotask(() => peer?.receive(message));
  }

  receive(message: In): void {
    if (!this.#isClosed) this.onMessage(message);
  }

  close(): void {
    this.#isClosed = true;
  }
}

/** The part of the platform's Worker that is used. */
export interface WorkerLike {
  postMessage(message: unknown): void;
  terminate(): void;
  addEventListener(type: string, listener: (event: Event) => void): void;
}
