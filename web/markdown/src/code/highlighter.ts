import type { Aside } from "../aside.ts";
import type { Jobs } from "../jobs.ts";
import type { Code, Coloured } from "./colours.ts";
import { keepSelection, type SelectionWatch } from "./selection.ts";

/** Colours finished code blocks, aside from the page's thread. Until it has, and where it cannot, code is plain. */
export class Highlighter {
  readonly #aside: Aside<Code, readonly Coloured[] | null>;
  readonly #selection: SelectionWatch;
  readonly #jobs: Jobs;
  readonly #onError: (error: unknown) => void;

  constructor(
    aside: Aside<Code, readonly Coloured[] | null>,
    selection: SelectionWatch,
    jobs: Jobs,
    onError: (error: unknown) => void,
  ) {
    this.#aside = aside;
    this.#selection = selection;
    this.#jobs = jobs;
    this.#onError = onError;
  }

  /** Colour `code` when that is worked out. Never rejects. */
  async colour(code: HTMLElement, language: string): Promise<void> {
    const text = code.textContent ?? "";
    if (language === "" || text.trim() === "") return;
    try {
      const coloured = await this.#aside.ask({ text, language });
      if (coloured !== null) this.#jobs.add(() => this.#replace(code, coloured));
    } catch (error) {
      this.#onError(error);
    }
  }

  #replace(code: HTMLElement, coloured: readonly Coloured[]): void {
    if (this.#selection.reaches(code)) keepSelection(code, () => draw(code, coloured));
    else draw(code, coloured);
  }
}

function draw(code: HTMLElement, coloured: readonly Coloured[]): void {
  const all = code.ownerDocument.createDocumentFragment();
  append(all, coloured);
  code.replaceChildren(all);
}

function append(parent: Node, coloured: readonly Coloured[]): void {
  const document = parent.ownerDocument;
  if (document === null) return;
  for (const part of coloured) {
    if (typeof part === "string") parent.appendChild(document.createTextNode(part));
    else {
      const name = classOf(part.scope);
      const inner = name === "" ? parent : parent.appendChild(document.createElement("span"));
      if (inner !== parent && "className" in inner) inner.className = name;
      append(inner, part.inner);
    }
  }
}

/** "title.function" is `hljs-title function_`, as the themes of highlight.js have it; a language in a language has none. */
function classOf(scope: string): string {
  const [first = "", ...rest] = scope.split(".");
  if (!/^[\w-]+$/.test(first)) return "";
  return [
    `hljs-${first}`,
    ...rest.filter((part) => /^\w+$/.test(part)).map((part, at) => part + "_".repeat(at + 1)),
  ].join(" ");
}
