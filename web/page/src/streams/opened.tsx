/** One stream: its facts, its log as a timeline, its text. */

import { useEffect, useRef, useState } from "preact/hooks";
import { Actions } from "./actions.tsx";
import { Attempts } from "./attempts.tsx";
import { StateBadge } from "./badge.tsx";
import { StreamTimeline } from "./chart/timeline.tsx";
import { useEnvironment } from "./environment.ts";
import { Facts, PerceivedFacts } from "./facts.tsx";
import { Loading, ProblemNotice, StaleBanner } from "./notices.tsx";
import { OpenedModel, type OpenedState } from "./opened_model.ts";
import { isRunning, type Stream } from "./stream.ts";
import { StreamText } from "./text.tsx";
import { endWords } from "./wording.ts";

export interface OpenedProps {
  id: string;
  /** Called once the stream is gone, on the reader's wish. */
  onErased: (id: string) => void;
}

export function OpenedStream({ id, onErased }: OpenedProps) {
  const { source, surroundings, nowS } = useEnvironment();
  const [model] = useState(() => new OpenedModel(id, source, surroundings, nowS));
  const state = model.state.value;
  useEffect(() => {
    model.start();
    return () => model.stop();
  }, [model]);
  const erase = async () => {
    if (await model.erase()) {
      onErased(id);
    }
  };
  return (
    <article class="streams-opened" aria-label="Stream">
      <nav aria-label="Back">
        <a class="streams-back" href="#/streams">
          <span aria-hidden="true">‹ </span>All streams
        </a>
      </nav>
      <Title id={id} />
      <Body id={id} state={state} model={model} onErase={() => void erase()} />
    </article>
  );
}

/** Takes the focus when the row that led here took it away with it. */
function Title({ id }: { id: string }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (document.activeElement === null || document.activeElement === document.body) {
      heading.current?.focus({ preventScroll: true });
    }
  }, []);
  return (
    <h1 ref={heading} tabIndex={-1} class="streams-title">
      <span class="streams-hidden">Stream </span>
      {id}
    </h1>
  );
}

interface BodyProps {
  id: string;
  state: OpenedState;
  model: OpenedModel;
  onErase: () => void;
}

function Body({ id, state, model, onErase }: BodyProps) {
  const { seesAll } = useEnvironment();
  const { stream, problem, refusal, heardAt } = state;
  if (problem !== null && (stream === null || problem.kind === "not_found")) {
    return (
      <ProblemNotice problem={problem} onRetry={() => model.retry()}>
        <a href="#/streams">See all streams</a>
      </ProblemNotice>
    );
  }
  if (stream === null) {
    return <Loading what="the stream" />;
  }
  return (
    <>
      {problem !== null && <StaleBanner problem={problem} heardAt={heardAt} onRetry={() => model.retry()} />}
      <Standing stream={stream} />
      <Actions stream={stream} doing={state.doing} onStop={() => void model.cancel()} onErase={onErase} />
      {refusal !== null && (
        <p class="streams-refusal" role="alert">
          That could not be done: {refusal.message}
        </p>
      )}
      <Facts stream={stream} entries={state.timeline?.entries ?? null} nowS={heardAt} showsOwner={seesAll()} />
      <Attempts stream={stream} />
      <Log state={state} stream={stream} />
      {stream.perceived !== null && <PerceivedFacts perceived={stream.perceived} />}
      <StreamText id={id} isRunning={isRunning(stream)} />
    </>
  );
}

function Standing({ stream }: { stream: Stream }) {
  const words = endWords(stream);
  // Of a stop on request the relay has no more to say than the words.
  const isTelling = stream.message !== null && stream.cause !== "client_stop" && !words?.includes(stream.message);
  return (
    <p class="streams-standing" role="status">
      <StateBadge state={stream.state} />
      {words !== null && <span>{words}</span>}
      {isTelling && <span class="streams-message">{stream.message}</span>}
    </p>
  );
}

function Log({ state, stream }: { state: OpenedState; stream: Stream }) {
  const { timeline, heardAt } = state;
  return (
    <section class="streams-section" aria-label="Timeline">
      <header class="streams-section-head">
        <h2>Timeline</h2>
        {!state.isTimelineWhole && timeline !== null && <p class="streams-note">Loading…</p>}
      </header>
      {timeline === null ? (
        <p class="streams-note">The relay does not tell when the entries of this stream were written.</p>
      ) : (
        <StreamTimeline stream={stream} timeline={timeline} nowS={heardAt} />
      )}
    </section>
  );
}
