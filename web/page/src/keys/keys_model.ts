/** The relay's keys: what is listed, and what is being done. */

import { type ReadonlySignal, signal } from "@preact/signals";
import { type Problem, problemOf } from "../relay/problem.ts";
import { bodyOf, type FieldErrors, fieldOf, type KeyForm } from "./form.ts";
import type { Key, MadeKey } from "./key.ts";
import type { KeysSource } from "./source.ts";

/** What lies over the list. */
export type Open =
  | { readonly dialog: "create" }
  | { readonly dialog: "rotate"; readonly key: Key }
  | { readonly dialog: "revoke"; readonly key: Key }
  /** A new secret, shown this once and kept nowhere. */
  | { readonly dialog: "made"; readonly made: MadeKey; readonly isRotated: boolean };

export interface KeysState {
  /** Null: not heard of yet. */
  readonly keys: readonly Key[] | null;
  readonly isAsking: boolean;
  /** Why they could not be had. */
  readonly problem: Problem | null;
  readonly open: Open | null;
  /** What the dialog wants is being done. */
  readonly isDoing: boolean;
  /** What is wrong with the form, by field. */
  readonly errors: FieldErrors;
  /** Why what the dialog wants could not be done; null when `errors` say it. */
  readonly refusal: string | null;
}

const NOTHING_WRONG = { errors: {}, refusal: null } as const;

export class KeysModel {
  readonly #state = signal<KeysState>({
    keys: null,
    isAsking: false,
    problem: null,
    open: null,
    isDoing: false,
    ...NOTHING_WRONG,
  });
  readonly #source: KeysSource;
  readonly #onRotated: (made: MadeKey) => void;
  #abort = new AbortController();

  /** `onRotated` is told of a new secret before anything else is asked. */
  constructor(source: KeysSource, onRotated: (made: MadeKey) => void = () => {}) {
    this.#source = source;
    this.#onRotated = onRotated;
  }

  get state(): ReadonlySignal<KeysState> {
    return this.#state;
  }

  /** Ask for the keys; an answer that is still under way is dropped. */
  async load(): Promise<void> {
    this.#abort.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.#set({ isAsking: true });
    try {
      const keys = await this.#source.list(abort.signal);
      if (!abort.signal.aborted) this.#set({ keys, problem: null, isAsking: false });
    } catch (error) {
      if (!abort.signal.aborted) this.#set({ problem: problemOf(error), isAsking: false });
    }
  }

  /** Ask no more. */
  stop(): void {
    this.#abort.abort();
  }

  open(open: Open): void {
    this.#set({ open, ...NOTHING_WRONG });
  }

  /** Close the dialog; a secret that it showed is gone from here. */
  close(): void {
    if (!this.#state.value.isDoing) this.#set({ open: null, ...NOTHING_WRONG });
  }

  /** Make the key that the form describes, and show it. */
  async create(form: KeyForm): Promise<void> {
    const read = bodyOf(form);
    if ("errors" in read) {
      this.#set({ errors: read.errors, refusal: null });
      return;
    }
    await this.#do(async () => this.#made(await this.#source.create(read.body), false));
  }

  /** Give a key a new secret, and show it. */
  async rotate(key: Key, keepOldForS: number): Promise<void> {
    await this.#do(async () => {
      const made = await this.#source.rotate(key.id, keepOldForS);
      this.#onRotated(made);
      this.#made(made, true);
    });
  }

  /** End a key, for good. */
  async revoke(key: Key): Promise<void> {
    await this.#do(async () => {
      const revoked = await this.#source.revoke(key.id);
      const keys = this.#state.value.keys?.map((known) => (known.id === revoked.id ? revoked : known)) ?? null;
      this.#set({ open: null, keys });
    });
  }

  #made(made: MadeKey, isRotated: boolean): void {
    this.#set({ open: { dialog: "made", made, isRotated } });
  }

  async #do(act: () => Promise<void>): Promise<void> {
    if (this.#state.value.isDoing) return;
    this.#set({ isDoing: true, ...NOTHING_WRONG });
    try {
      await act();
      this.#set({ isDoing: false });
      void this.load();
    } catch (error) {
      const { message, param } = problemOf(error);
      const field = this.#state.value.open?.dialog === "create" ? fieldOf(param) : null;
      const wrong =
        field === null
          ? { errors: {}, refusal: message }
          : { errors: { [field]: atField(message, param) }, refusal: null };
      this.#set({ isDoing: false, ...wrong });
    }
  }

  #set(change: Partial<KeysState>): void {
    this.#state.value = { ...this.#state.value, ...change };
  }
}

/** The relay begins with the field's path, which at the field itself would only be in the way. */
function atField(message: string, param: string | null): string {
  const path = `${param}: `;
  return message.startsWith(path) ? message.slice(path.length) : message;
}
