import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";

const NAME = "headrace.key";

/** The API key of this tab's session: never kept longer, never in a URL, never shown in full again. */
export class SessionKey {
  readonly #storage: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null;
  readonly #value: Signal<string | null>;
  readonly #isWanted: Signal<boolean> = signal(false);
  /** Told that the key in use, or having none, is refused; once is enough, however often the relay says so. */
  #isToldOf = false;
  /** The key's last characters behind dots; null without a key. */
  readonly masked: ReadonlySignal<string | null>;

  constructor(storage: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null) {
    this.#storage = storage;
    this.#value = signal(attempt(() => storage?.getItem(NAME) ?? null));
    this.masked = computed(() => maskOf(this.#value.value));
  }

  get value(): string | null {
    return this.#value.value;
  }

  /** True while the page asks the reader for a key. */
  get isWanted(): ReadonlySignal<boolean> {
    return this.#isWanted;
  }

  /** The relay refused `key`: ask for another, once; who said "not now" is not asked again for the same. */
  refused(key: string | null): void {
    // An answer to what was sent before the key was changed says nothing of this one.
    if (key !== this.#value.peek() || this.#isToldOf) return;
    this.#isToldOf = true;
    this.#isWanted.value = true;
  }

  /** Ask for a key because the reader wants to give one. */
  ask(): void {
    this.#isWanted.value = true;
  }

  /** Ask no more: the reader has none at hand. */
  dismiss(): void {
    this.#isWanted.value = false;
  }

  /** Use this key from now on; an empty one is none. */
  set(key: string): void {
    const value = key.trim();
    if (value === "") {
      this.forget();
      return;
    }
    this.#isToldOf = false;
    this.#value.value = value;
    this.#isWanted.value = false;
    attempt(() => this.#storage?.setItem(NAME, value) ?? null);
  }

  forget(): void {
    this.#isToldOf = false;
    this.#value.value = null;
    attempt(() => this.#storage?.removeItem(NAME) ?? null);
  }
}

function maskOf(key: string | null): string | null {
  if (key === null) return null;
  // Of a short key even four characters would tell too much.
  return `••••${key.length >= 16 ? key.slice(-4) : ""}`;
}

/** Storage that is denied throws; the key then lives as long as the page. */
function attempt<Found>(call: () => Found | null): Found | null {
  try {
    return call();
  } catch {
    return null;
  }
}
