/** The live list of the relay's streams. */

import { useEffect, useRef } from "preact/hooks";
import { Engines } from "./engines.tsx";
import { useEnvironment } from "./environment.ts";
import { StateFilter } from "./filter.tsx";
import { canLoadOlder, type ListModel, type ListState } from "./list_model.ts";
import { Loading, ProblemNotice, StaleBanner } from "./notices.tsx";
import { useNow } from "./now.ts";
import { MAX_ROWS } from "./pages.ts";
import { StreamRow } from "./row.tsx";
import { isRunning } from "./stream.ts";
import { stateWord } from "./wording.ts";

const COLUMNS = ["State", "Stream", "Started", "Duration", "Tokens", "Tokens/s", "Consumers", "Lag"] as const;

export interface ListProps {
  model: ListModel;
  /** The stream that the reader comes back from: its row gets the focus. */
  cameFrom: string | null;
  /** Something that was just done, such as an erasure. */
  done: string | null;
}

export function StreamList({ model, cameFrom, done }: ListProps) {
  const state = model.state.value;
  const root = useRef<HTMLElement>(null);
  const { seesAll } = useEnvironment();
  useEffect(() => {
    model.start();
    return () => model.stop();
  }, [model]);
  useEffect(() => {
    const links = [...(root.current?.querySelectorAll<HTMLElement>("tbody a") ?? [])];
    links.find((link) => link.getAttribute("href") === `#/streams/${cameFrom}`)?.focus();
  }, [cameFrom]);
  return (
    <section class="streams-list" aria-label="Streams" ref={root}>
      <header class="streams-head">
        <h1>Streams</h1>
        <p class="streams-count" role="status">
          {done ?? countWords(state)}
        </p>
      </header>
      {seesAll() && <Engines />}
      <StateFilter value={state.filter} onChange={(filter) => model.show(filter)} />
      <Body model={model} state={state} />
    </section>
  );
}

function Body({ model, state }: { model: ListModel; state: ListState }) {
  const nowS = useNow();
  const { problem, loaded, heardAt } = state;
  // How long something runs on is not known while the relay does not answer.
  const untilS = problem === null ? nowS : heardAt;
  if (loaded.streams.length === 0) {
    return <Blank model={model} state={state} />;
  }
  return (
    <>
      {problem !== null && <StaleBanner problem={problem} heardAt={heardAt} onRetry={() => model.retry()} />}
      <table class="streams-table">
        <thead>
          <tr>
            {COLUMNS.map((column) => (
              <th scope="col" key={column} data-column={column}>
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {loaded.streams.map((stream) => (
            <StreamRow key={stream.id} stream={stream} nowS={untilS} />
          ))}
        </tbody>
      </table>
      <More model={model} state={state} />
    </>
  );
}

/** What stands there without any row. */
function Blank({ model, state }: { model: ListModel; state: ListState }) {
  if (state.problem !== null) {
    return <ProblemNotice problem={state.problem} onRetry={() => model.retry()} />;
  }
  if (state.isFirst) {
    return <Loading what="streams" />;
  }
  if (state.filter !== null) {
    return (
      <div class="streams-notice">
        <p class="streams-notice-title">None of the relay's streams is in the state “{stateWord(state.filter)}”</p>
        <p class="streams-notice-acts">
          <button type="button" class="streams-button" onClick={() => model.show(null)}>
            Show all
          </button>
        </p>
      </div>
    );
  }
  return (
    <div class="streams-notice">
      <p class="streams-notice-title">No streams yet</p>
      <p>
        Every answer that the relay makes is a stream. <a href="#/">Ask something in Chat</a>, or send a request to{" "}
        <code>POST /v1/chat/completions</code>: it shows up here while it runs.
      </p>
    </div>
  );
}

function More({ model, state }: { model: ListModel; state: ListState }) {
  if (canLoadOlder(state)) {
    return (
      <p class="streams-more">
        <button
          type="button"
          class="streams-button"
          aria-disabled={state.isLoadingOlder}
          onClick={() => void model.older()}
        >
          {state.isLoadingOlder ? "Loading…" : "Older"}
        </button>
      </p>
    );
  }
  return (
    <p class="streams-more">
      {state.loaded.hasMore
        ? `Only the newest ${MAX_ROWS} are listed; choose a state to see further back.`
        : "That is all the relay keeps."}
    </p>
  );
}

function countWords(state: ListState): string {
  const { streams, hasMore } = state.loaded;
  if (streams.length === 0) {
    return "";
  }
  const running = streams.filter(isRunning).length;
  return `${running === 0 ? "none" : running} running, ${streams.length}${hasMore ? " of more" : ""} shown`;
}
