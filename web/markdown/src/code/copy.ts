import type { Labels } from "../options.ts";

/** How long a button says that it has copied. */
const SAID_MS = 2000;

/** Copies a code block when its button is pressed: one listener for all buttons of a view. */
export class CopyButtons {
  readonly #root: HTMLElement;
  readonly #labels: Labels;
  readonly #onError: (error: unknown) => void;
  readonly #timers = new Set<number>();

  constructor(root: HTMLElement, labels: Labels, onError: (error: unknown) => void) {
    this.#root = root;
    this.#labels = labels;
    this.#onError = onError;
    root.addEventListener("click", this.#onClick);
  }

  destroy(): void {
    this.#root.removeEventListener("click", this.#onClick);
    for (const timer of this.#timers) this.#window?.clearTimeout(timer);
  }

  get #window(): Window | null {
    return this.#root.ownerDocument.defaultView;
  }

  readonly #onClick = (event: Event): void => {
    const target = event.target;
    if (target === null || !("closest" in target) || typeof target.closest !== "function") return;
    const button: HTMLElement | null = target.closest("button.md-copy");
    const code = button?.closest(".md-code")?.querySelector("pre");
    if (button === null || code === null || code === undefined) return;
    void this.#copy(button, code.textContent ?? "");
  };

  async #copy(button: HTMLElement, text: string): Promise<void> {
    try {
      await writeClipboard(this.#root.ownerDocument, text);
    } catch (error) {
      this.#onError(error);
      return;
    }
    button.textContent = this.#labels.copied;
    const timer = this.#window?.setTimeout(() => {
      button.textContent = this.#labels.copy;
      if (timer !== undefined) this.#timers.delete(timer);
    }, SAID_MS);
    if (timer !== undefined) this.#timers.add(timer);
  }
}

/** The Clipboard API needs a secure context and leave; where it is not to be had, the old command is tried. */
async function writeClipboard(document: Document, text: string): Promise<void> {
  const clipboard: Clipboard | undefined = document.defaultView?.navigator.clipboard;
  if (clipboard !== undefined) {
    try {
      return await clipboard.writeText(text);
    } catch {
      // Refused: try the other way.
    }
  }
  copyByCommand(document, text);
}

function copyByCommand(document: Document, text: string): void {
  const area = document.createElement("textarea");
  const focused = document.activeElement;
  area.value = text;
  area.className = "md-clipboard";
  area.readOnly = true;
  document.body.append(area);
  area.select();
  const isDone = document.execCommand?.("copy") === true;
  area.remove();
  if (focused !== null && "focus" in focused && typeof focused.focus === "function") focused.focus();
  if (!isDone) throw new Error("the browser lets nothing be copied");
}
