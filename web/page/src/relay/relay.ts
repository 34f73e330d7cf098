import { type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { SessionKey } from "../store/key.ts";
import { type Caller, callerOf } from "./caller.ts";
import { keyHeaders, messageOf, modelsOf } from "./json.ts";

/** Whether the relay can be asked anything. */
export type Reach =
  | { readonly state: "checking" }
  | { readonly state: "reachable" }
  /** `tryAt`: wall clock in milliseconds of the next try. */
  | { readonly state: "unreachable"; readonly tryAt: number }
  | { readonly state: "offline" };

export type Models =
  | { readonly state: "loading" }
  | { readonly state: "ready"; readonly ids: readonly string[] }
  /** `message`: why there are none, for people. */
  | { readonly state: "failed"; readonly message: string; readonly wantsKey: boolean };

/** What the relay's calls need of their surroundings. */
export interface Surroundings {
  fetch(url: string, init: RequestInit): Promise<Response>;
  now(): number;
  /** Call `call` in `ms`; returns how to prevent it. */
  after(ms: number, call: () => void): () => void;
  isOnline(): boolean;
}

const RETRY_MS: readonly number[] = [1000, 2000, 4000, 8000, 15_000];
const PATIENCE_MS = 10_000;
/** No relay serves more; a longer list would only be a slow menu. */
const MAX_MODELS = 1000;

/** The relay this page came from: can it be reached, which models has it, does it want a key, and who are we to it. */
export class Relay {
  readonly #around: Surroundings;
  readonly #key: SessionKey;
  readonly #reach: Signal<Reach> = signal({ state: "checking" });
  readonly #models: Signal<Models> = signal({ state: "loading" });
  readonly #caller: Signal<Caller | null> = signal(null);
  #tries = 0;
  #call = 0;
  #cancelRetry = (): void => {};

  constructor(around: Surroundings, key: SessionKey) {
    this.#around = around;
    this.#key = key;
  }

  get reach(): ReadonlySignal<Reach> {
    return this.#reach;
  }

  get models(): ReadonlySignal<Models> {
    return this.#models;
  }

  /** Who this page is to the relay; null while that is not known. */
  get caller(): ReadonlySignal<Caller | null> {
    return this.#caller;
  }

  /** Ask for the models now, and again by and by while nobody answers. */
  async check(): Promise<void> {
    this.#cancelRetry();
    const call = ++this.#call;
    if (!this.#around.isOnline()) {
      this.#reach.value = { state: "offline" };
      return;
    }
    const key = this.#key.value;
    const answer = await this.#get("/v1/models");
    if (call !== this.#call) return;
    if (answer === null) this.#lost();
    else this.#found(answer, key);
    if (answer?.status === 200) await this.identify();
  }

  /** Ask anew who this page is to the relay, and what it has spent. */
  async identify(): Promise<void> {
    const key = this.#key.value;
    const answer = await this.#get("/v1/me");
    // What was asked with another key is somebody else; no answer is no news.
    if (answer === null || key !== this.#key.value) return;
    this.#caller.value = answer.status === 200 ? callerOf(answer.body) : null;
  }

  /** The network came or went, by the browser's word. */
  networkChanged(): void {
    this.#tries = 0;
    void this.check();
  }

  /** Return a stream's record, or null where there is none to be had. */
  async stream(id: string): Promise<Record<string, unknown> | null> {
    const answer = await this.#get(`/v1/streams/${encodeURIComponent(id)}`);
    return answer?.status === 200 && typeof answer.body === "object" && answer.body !== null
      ? { ...answer.body }
      : null;
  }

  #found({ status, body }: Answer, key: string | null): void {
    this.#tries = 0;
    this.#reach.value = { state: "reachable" };
    if (status === 200) {
      this.#models.value = { state: "ready", ids: modelsOf(body).slice(0, MAX_MODELS) };
    } else if (status === 401) {
      this.#models.value = { state: "failed", message: "This relay asks for an API key.", wantsKey: true };
      this.#caller.value = null;
      this.#key.refused(key);
    } else {
      const message = messageOf(body) ?? `The relay answered ${status}.`;
      this.#models.value = { state: "failed", message, wantsKey: false };
    }
  }

  #lost(): void {
    const ms = RETRY_MS[Math.min(this.#tries, RETRY_MS.length - 1)] ?? 0;
    this.#tries += 1;
    this.#reach.value = { state: "unreachable", tryAt: this.#around.now() + ms };
    this.#cancelRetry = this.#around.after(ms, () => void this.check());
  }

  /** Return what was answered; null when nobody did, or a proxy did in the relay's place. */
  async #get(path: string): Promise<Answer | null> {
    try {
      const response = await this.#around.fetch(path, {
        headers: keyHeaders(this.#key.value),
        cache: "no-store",
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      const body: unknown = await response.json().catch(() => null);
      return body === null && response.status >= 500 ? null : { status: response.status, body };
    } catch {
      return null;
    }
  }
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}
