import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

interface DialogProps {
  readonly class: string;
  /** Id of the element that names it. */
  readonly labelledBy: string;
  /** The reader closed it: Escape, or a press beside it. */
  onClose(): void;
  readonly children: ComponentChildren;
}

/** A modal dialog, open as long as it is rendered; the browser keeps focus inside and gives it back. */
export function Dialog(props: DialogProps): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null);
  const onClose = useRef(props.onClose);
  onClose.current = props.onClose;
  useEffect(() => (ref.current === null ? undefined : open(ref.current, () => onClose.current())), []);
  return (
    <dialog
      ref={ref}
      class={props.class}
      aria-labelledby={props.labelledBy}
      onCancel={(event) => {
        event.preventDefault();
        props.onClose();
      }}
    >
      {props.children}
    </dialog>
  );
}

/** Show it until the function that is returned is called. A press on the backdrop is one on the dialog itself. */
function open(dialog: HTMLDialogElement, close: () => void): () => void {
  const pressed = (event: PointerEvent) => {
    if (event.target === dialog) close();
  };
  dialog.addEventListener("pointerdown", pressed);
  dialog.showModal();
  return () => {
    dialog.removeEventListener("pointerdown", pressed);
    dialog.close();
  };
}
