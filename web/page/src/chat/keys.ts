/** What a key event tells; a subset of the DOM's. */
export interface KeyPress {
  readonly key: string;
  readonly shiftKey: boolean;
  readonly altKey: boolean;
  readonly isComposing: boolean;
  readonly keyCode: number;
}

/** What browsers report for a key that an input method takes; Safari does so even after `compositionend`. */
const TAKEN_BY_IME = 229;

/** True while an input method composes: its Enter and Escape are not ours. */
export function isComposing(press: KeyPress): boolean {
  return press.isComposing || press.keyCode === TAKEN_BY_IME;
}

/** Whether a key press in the text box sends: Enter alone or with Ctrl or Cmd, never one that ends a composition. */
export function isSend(press: KeyPress): boolean {
  return press.key === "Enter" && !press.shiftKey && !press.altKey && !isComposing(press);
}
