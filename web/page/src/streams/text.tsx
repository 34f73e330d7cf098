/** The text of a stream, followed while it is looked at. */

import { useEffect, useState } from "preact/hooks";
import { useEnvironment } from "./environment.ts";
import { formatCounted } from "./format.ts";
import { PlainText } from "./plain_text.tsx";
import { type Transcript, Transcripts } from "./transcript.ts";

export interface TextProps {
  id: string;
  /** More may come. */
  isRunning: boolean;
}

export function StreamText({ id, isRunning }: TextProps) {
  const { source } = useEnvironment();
  const [note, setNote] = useState<string | null>(null);
  const [texts, setTexts] = useState<Transcripts | null>(null);
  const [isWhole, setWhole] = useState(false);
  useEffect(() => {
    const transcripts = new Transcripts(setNote, () => setWhole(true));
    setTexts(transcripts);
    setWhole(false);
    return source.follow(id, transcripts);
  }, [id, source]);
  const blank = isWhole ? "No text." : isRunning ? "No text yet." : "Loading…";
  return (
    <section class="streams-section" aria-label="Text">
      <header class="streams-section-head">
        <h2>Text</h2>
        {note !== null && <p class="streams-note">{note}</p>}
      </header>
      {texts !== null && <Texts texts={texts} blank={blank} />}
    </section>
  );
}

/** `blank` stands there while there is no answer. */
function Texts({ texts, blank }: { texts: Transcripts; blank: string }) {
  const hasReasoning = useHasText(texts.reasoning);
  const hasAnswer = useHasText(texts.answer);
  return (
    <>
      {hasReasoning && (
        <details class="streams-reasoning">
          <summary>Reasoning</summary>
          <Dropped transcript={texts.reasoning} />
          <PlainText transcript={texts.reasoning} label="Reasoning" />
        </details>
      )}
      <Dropped transcript={texts.answer} />
      {hasAnswer ? <PlainText transcript={texts.answer} label="Answer text" /> : <p class="streams-note">{blank}</p>}
    </>
  );
}

/** Says that the start is missing, when it is. */
function Dropped({ transcript }: { transcript: Transcript }) {
  const [dropped, setDropped] = useState(transcript.dropped);
  useEffect(() => transcript.listen({ onAdded() {}, onDropped: () => setDropped(transcript.dropped) }), [transcript]);
  return dropped === 0 ? null : (
    <p class="streams-note">The first {formatCounted(dropped, "character is", "characters are")} not shown.</p>
  );
}

function useHasText(transcript: Transcript): boolean {
  const [has, setHas] = useState(transcript.length > 0);
  useEffect(() => {
    setHas(transcript.length > 0);
    return transcript.listen({ onAdded: () => setHas(true), onDropped() {} });
  }, [transcript]);
  return has;
}
