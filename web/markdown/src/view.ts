import { asidesOf } from "./asides.ts";
import { Feeder } from "./blocks/feeder.ts";
import { BlockParser } from "./blocks/parser.ts";
import { CopyButtons } from "./code/copy.ts";
import { Highlighter } from "./code/highlighter.ts";
import { Drawing } from "./draw/drawing.ts";
import { followFootnotes } from "./draw/follow.ts";
import { Footnotes } from "./draw/footnotes.ts";
import type { Part } from "./draw/part.ts";
import { References } from "./draw/references.ts";
import type { Tools } from "./draw/tools.ts";
import { cutLine } from "./inline/cut.ts";
import { Jobs } from "./jobs.ts";
import { LIMITS } from "./limits.ts";
import { Formulas } from "./math/formulas.ts";
import { labelsOf, type MarkdownOptions, randomPrefix, type Schedule } from "./options.ts";
import { Pace } from "./pace.ts";
import { frameOrTimer, waitIn } from "./schedule.ts";
import { Backlog } from "./text/backlog.ts";
import { Work } from "./work.ts";

/** Units read between two looks at the clock, and in one frame at most. */
const STEP = 1024;
const FRAME = 32 * STEP;
const BUDGET_MS = 8;
/**
 * Draws markdown as it streams in.
 *
 * Each frame does a bounded part of what is left to do, and nothing that was finished is drawn again. After `end()` the DOM
 * is what `renderMarkdown` makes of the whole text, however the text came; formulas and colours come when what makes them
 * is loaded.
 */
export class MarkdownView {
  /** What drawing took so far. */
  readonly work = new Work();
  readonly #schedule: Schedule;
  readonly #pace: Pace;
  readonly #budgetMs: number;
  readonly #math: boolean;
  readonly #backlog = new Backlog(STEP);
  readonly #jobs = new Jobs(() => this.#wake());
  readonly #references = new References(this.#jobs, LIMITS.definitions);
  readonly #drawing: Drawing;
  readonly #feeder: Feeder<Part>;
  readonly #copies: CopyButtons;
  readonly #formulas: Formulas | null;
  readonly #unfollow: () => void;
  #cancelFrame: (() => void) | null = null;
  #state: "open" | "ending" | "ended" | "destroyed" = "open";
  #isCut = false;
  #waiting: (() => void)[] = [];

  /** `root` is emptied, and gets the class `markdown`. */
  constructor(root: HTMLElement, options: MarkdownOptions = {}) {
    const window = root.ownerDocument.defaultView;
    if (window === null) throw new Error("root: it has to be in the document of a window");
    this.#schedule = options.schedule ?? frameOrTimer(window);
    this.#pace = new Pace(options.now ?? (() => window.performance.now()));
    this.#budgetMs = options.budgetMs ?? BUDGET_MS;
    this.#math = options.math ?? true;
    root.replaceChildren();
    root.classList.add("markdown");
    const tools = this.#tools(window, options);
    this.#formulas = tools.formulas;
    this.#drawing = new Drawing(root, tools);
    this.#feeder = new Feeder(new BlockParser(this.#drawing, this.#drawing.root, tools), LIMITS);
    this.#copies = new CopyButtons(root, tools.labels, options.onError ?? ignore);
    this.#unfollow = followFootnotes(root);
  }

  /** Whether all that was written is drawn, and after `end()` all of it is final. */
  get isSettled(): boolean {
    return this.#state === "destroyed" || (this.#backlog.isEmpty && this.#jobs.isEmpty && this.#state !== "ending");
  }

  /** Add text. It is drawn in the next frames; the last grapheme waits until it cannot grow any more. */
  write(delta: string): void {
    if (this.#state !== "open") throw new Error("write: the text was ended, or the view destroyed");
    this.#backlog.push(delta);
    this.#wake();
  }

  /**
   * No more text comes. What is left is drawn in the next frames.
   *
   * `cut`: the text was stopped in the middle. Then nothing is made of marks at its end that have said nothing yet (a lone `-`
   * makes no heading of the line above), and what is undecided stays held back; all else is as after an end.
   */
  end({ cut = false }: { readonly cut?: boolean } = {}): void {
    if (this.#state !== "open") return;
    this.#state = "ending";
    this.#isCut = cut;
    this.#backlog.end();
    this.#wake();
  }

  /** Draw all that was written, now. */
  flush(): void {
    while (!this.isSettled) this.#advance(() => false);
    this.#drawing.draw();
    this.#tellSettled();
  }

  /** Resolves once `isSettled`, or when the view is destroyed. */
  whenSettled(): Promise<void> {
    if (this.isSettled) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Stop drawing and listening. What is drawn stays. */
  destroy(): void {
    this.#state = "destroyed";
    this.#cancelFrame?.();
    this.#cancelFrame = null;
    this.#jobs.clear();
    this.#copies.destroy();
    this.#formulas?.destroy();
    this.#unfollow();
    this.#tellSettled();
  }

  #tools(window: Window & typeof globalThis, options: MarkdownOptions): Tools {
    const onError = options.onError ?? ignore;
    const asides = asidesOf(window.document);
    return {
      document: window.document,
      limits: LIMITS,
      labels: labelsOf(options),
      math: this.#math,
      work: this.work,
      references: this.#references,
      footnotes: new Footnotes(options.idPrefix ?? randomPrefix(), this.#references),
      highlighter:
        (options.highlight ?? true) ? new Highlighter(asides.colours, asides.selection, this.#jobs, onError) : null,
      formulas: this.#math ? new Formulas(asides.formulas, this.#jobs, waitIn(window), onError) : null,
    };
  }

  #wake(): void {
    if (this.#state === "destroyed" || this.#cancelFrame !== null) return;
    this.#cancelFrame = this.#schedule(() => this.#frame(), this.#pace.restMs);
  }

  #frame(): void {
    this.#cancelFrame = null;
    if (this.#state === "destroyed") return;
    if (this.#pace.isResting) {
      this.#wake();
      return;
    }
    this.#pace.begin();
    this.#advance(() => this.#pace.takenMs >= this.#budgetMs);
    this.#drawing.draw();
    this.#pace.end();
    if (this.isSettled) this.#tellSettled();
    else this.#wake();
  }

  /** Do what there is to do, step by step, until `isOver`: text first, then what may wait. At least one step is done. */
  #advance(isOver: () => boolean): void {
    let left = FRAME;
    do {
      if (!this.#backlog.isEmpty) left -= this.#read();
      else if (this.#state === "ending") this.#finish();
      else if (!this.#jobs.isEmpty) this.#jobs.runOne();
      else return;
    } while (!isOver() && left > 0);
  }

  #read(): number {
    const text = this.#backlog.take();
    this.#feeder.push(text);
    return text.length;
  }

  #finish(): void {
    if (this.#isCut) {
      this.#feeder.cut(
        (line) => cutLine(line, this.#math),
        () => this.#drawing.cut(),
      );
    } else this.#feeder.close();
    this.#references.end();
    this.#state = "ended";
  }

  #tellSettled(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

function ignore(): void {}
