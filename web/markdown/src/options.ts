/** Words shown or read out, in the reader's language. */
export interface Labels {
  /** On the button of a code block. */
  readonly copy: string;
  /** The same, for two seconds after it was pressed. */
  readonly copied: string;
  /** Names of regions that scroll, and of the footnotes, for assistive tools. */
  readonly code: string;
  readonly table: string;
  readonly footnotes: string;
  readonly backToText: string;
  /** Of a task's box. */
  readonly done: string;
  readonly open: string;
}

export interface MarkdownOptions {
  /**
   * Call `draw` soon, and return how to call that off. Default: the next animation frame, or a timer while hidden. `restMs` tells
   * that a call within so many milliseconds draws nothing yet, but asks for another.
   */
  readonly schedule?: Schedule;
  /** Milliseconds that one frame may take; 8 by default. A step that was begun is finished. */
  readonly budgetMs?: number;
  /** Colour code blocks; true by default. */
  readonly highlight?: boolean;
  /** Read formulas, and set them; true by default. */
  readonly math?: boolean;
  readonly labels?: Partial<Labels>;
  /** What ids of footnotes begin with; random by default, so that two answers on a page do not clash. */
  readonly idPrefix?: string;
  /** Told of what went wrong beside the text: a chunk that cannot be loaded, a clipboard that refuses. */
  readonly onError?: (error: unknown) => void;
  /** Milliseconds of a steady clock; `performance.now` by default. */
  readonly now?: () => number;
}

export type Schedule = (draw: () => void, restMs: number) => () => void;

const LABELS: Labels = {
  copy: "Copy",
  copied: "Copied",
  code: "Code",
  table: "Table",
  footnotes: "Footnotes",
  backToText: "Back to the text",
  done: "Done",
  open: "Open",
};

export function labelsOf(options: MarkdownOptions): Labels {
  return { ...LABELS, ...options.labels };
}

export function randomPrefix(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(5));
  return `md${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
