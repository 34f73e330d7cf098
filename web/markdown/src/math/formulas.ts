import type { Aside } from "../aside.ts";
import type { Jobs } from "../jobs.ts";
import { mathElement } from "./mathml.ts";
import type { Formula, MathTree } from "./trees.ts";

/** How long a formula's place is kept empty for it; then its TeX is shown. */
const PATIENCE_MS = 2000;

/** Calls back after some milliseconds; returns how to call that off. */
export type Wait = (ms: number, then: () => void) => () => void;

/**
 * Sets formulas as MathML, aside from the page's thread.
 *
 * A formula keeps its place, unseen, until it is set, so that no TeX flashes by. If that takes too long, fails, or the TeX is
 * not known, its TeX is shown as code.
 */
export class Formulas {
  readonly #aside: Aside<Formula, MathTree | null>;
  readonly #jobs: Jobs;
  readonly #wait: Wait;
  readonly #onError: (error: unknown) => void;
  /** Of the formulas that are waited for, how to wait no more. */
  readonly #waits = new Set<() => void>();
  #hasFailed = false;

  constructor(aside: Aside<Formula, MathTree | null>, jobs: Jobs, wait: Wait, onError: (error: unknown) => void) {
    this.#aside = aside;
    this.#jobs = jobs;
    this.#wait = wait;
    this.#onError = onError;
  }

  /** A formula may come. */
  expect(): void {
    this.#aside.prepare();
  }

  /** Put MathML in the place of `code`, or else TeX in it, as soon as can be; `onSet` is told of MathML. */
  set(code: HTMLElement, tex: string, isDisplay: boolean, onSet: (math: Element) => void): void {
    code.classList.add("md-pending");
    code.textContent = "";
    const show = () => {
      stop();
      this.#waits.delete(stop);
      code.classList.remove("md-pending");
      code.textContent = tex;
    };
    const stop = this.#wait(PATIENCE_MS, show);
    this.#waits.add(stop);
    this.#aside.ask({ tex, isDisplay }).then(
      (tree) => this.#jobs.add(() => replace(code, tree, onSet, show)),
      (error) => {
        show();
        if (!this.#hasFailed) this.#onError(error);
        this.#hasFailed = true;
      },
    );
  }

  destroy(): void {
    for (const stop of this.#waits) stop();
    this.#waits.clear();
  }
}

function replace(code: HTMLElement, tree: MathTree | null, onSet: (math: Element) => void, show: () => void): void {
  const math = tree === null ? null : mathElement(code.ownerDocument, tree);
  show();
  if (math === null || code.parentNode === null) return;
  code.replaceWith(math);
  onSet(math);
}
