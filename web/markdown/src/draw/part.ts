/** A drawn block: a container, or a leaf that takes text. */
export interface Part {
  /** Where blocks in it go. */
  readonly inner: HTMLElement;
  /** What stands for it in its parent. */
  readonly outer: HTMLElement;
  append?(text: string): void;
  close?(): void;
}
