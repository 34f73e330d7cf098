import { type ReadonlySignal, type Signal, signal } from "@preact/signals";

/** The module that draws Markdown. */
export type Tools = typeof import("./markdown.ts");

export type Loaded =
  | { readonly state: "wanted" }
  | { readonly state: "ready"; readonly tools: Tools }
  /** It could not be had: answers are shown as plain text. */
  | { readonly state: "failed" };

/** Loads what draws Markdown, once, when it is first needed. */
export class Renderer {
  readonly #load: () => Promise<Tools>;
  readonly #loaded: Signal<Loaded> = signal({ state: "wanted" });
  #isLoading = false;

  constructor(load: () => Promise<Tools>) {
    this.#load = load;
  }

  get loaded(): ReadonlySignal<Loaded> {
    return this.#loaded;
  }

  /** It will be needed; after a failure, it is tried again. */
  async want(): Promise<void> {
    if (this.#isLoading || this.#loaded.value.state === "ready") return;
    this.#isLoading = true;
    try {
      this.#loaded.value = { state: "ready", tools: await this.#load() };
    } catch {
      // The relay is down, or another version of it is up, without this file.
      this.#loaded.value = { state: "failed" };
    } finally {
      this.#isLoading = false;
    }
  }
}
