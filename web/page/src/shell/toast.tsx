import type { JSX } from "preact";
import { Icon } from "./icons.tsx";
import { useServices } from "./services.ts";

/** The notice of the moment. The region is always there, so that what comes into it is announced. */
export function Toast(): JSX.Element {
  const { notices } = useServices();
  const notice = notices.current.value;
  const undo = () => {
    notices.dismiss();
    notice?.undo?.();
  };
  return (
    <div class="toast-region" aria-live="polite">
      {notice === null ? null : (
        <div class="toast">
          <span>{notice.text}</span>
          {notice.undo === undefined ? null : (
            <button type="button" class="link-button" onClick={undo}>
              Undo
            </button>
          )}
          <button type="button" class="icon-button" aria-label="Dismiss" onClick={() => notices.dismiss()}>
            <Icon name="close" />
          </button>
        </div>
      )}
    </div>
  );
}
