/** What a reader can do to a stream. */

import { useEffect, useRef, useState } from "preact/hooks";
import { useEnvironment } from "./environment.ts";
import type { OpenedState } from "./opened_model.ts";
import { isRunning, type Stream } from "./stream.ts";

const COPIED_MS = 2000;

export interface ActionsProps {
  stream: Stream;
  doing: OpenedState["doing"];
  onStop: () => void;
  onErase: () => void;
}

export function Actions({ stream, doing, onStop, onErase }: ActionsProps) {
  const [isAsking, setAsking] = useState(false);
  const eraseButton = useRef<HTMLButtonElement>(null);
  const keep = () => {
    setAsking(false);
    // The button is there again only after this render.
    queueMicrotask(() => requestAnimationFrame(() => eraseButton.current?.focus()));
  };
  if (isAsking) {
    return (
      <EraseQuestion isRunning={isRunning(stream)} isErasing={doing === "erasing"} onErase={onErase} onKeep={keep} />
    );
  }
  return (
    <div class="streams-actions">
      {isRunning(stream) && (
        <button type="button" class="streams-button streams-stop" aria-disabled={doing === "stopping"} onClick={onStop}>
          {doing === "stopping" ? "Stopping…" : "Stop"}
        </button>
      )}
      <CopyButton text={stream.id} />
      <button type="button" class="streams-button" ref={eraseButton} onClick={() => setAsking(true)}>
        Erase
      </button>
    </div>
  );
}

interface QuestionProps {
  isRunning: boolean;
  isErasing: boolean;
  onErase: () => void;
  onKeep: () => void;
}

function EraseQuestion({ isRunning, isErasing, onErase, onKeep }: QuestionProps) {
  const keepButton = useRef<HTMLButtonElement>(null);
  useEffect(() => keepButton.current?.focus(), []);
  return (
    <fieldset class="streams-actions streams-question" onKeyDown={(event) => event.key === "Escape" && onKeep()}>
      <legend>{isRunning ? "Stop it, and erase" : "Erase"} its text, log and record for good?</legend>
      <button type="button" class="streams-button" ref={keepButton} onClick={onKeep}>
        Keep it
      </button>
      <button type="button" class="streams-button streams-danger" aria-disabled={isErasing} onClick={onErase}>
        {isErasing ? "Erasing…" : "Erase for good"}
      </button>
    </fieldset>
  );
}

function CopyButton({ text }: { text: string }) {
  const { copy, surroundings } = useEnvironment();
  const [outcome, setOutcome] = useState<"copied" | "refused" | null>(null);
  useEffect(
    () => (outcome === null ? undefined : surroundings.after(COPIED_MS, () => setOutcome(null))),
    [outcome, surroundings],
  );
  const press = () =>
    copy(text).then(
      () => setOutcome("copied"),
      () => setOutcome("refused"),
    );
  return (
    <>
      <button type="button" class="streams-button" onClick={() => void press()}>
        {outcome === "copied" ? "Copied" : outcome === "refused" ? "Not allowed" : "Copy id"}
      </button>
      <span class="streams-hidden" role="status">
        {outcome === "copied" && "Stream id copied"}
        {outcome === "refused" && "The browser does not let this page copy"}
      </span>
    </>
  );
}
