/** The Streams view: the list, or one stream. */

import { useState } from "preact/hooks";
import { EnvironmentContext, type StreamsEnvironment } from "./environment.ts";
import { StreamList } from "./list.tsx";
import { ListModel } from "./list_model.ts";
import { OpenedStream } from "./opened.tsx";

export interface ViewProps {
  /** The stream that is opened; null: the list. */
  streamId: string | null;
  environment: StreamsEnvironment;
}

export function View({ streamId, environment }: ViewProps) {
  // Lives as long as the view, so that the list is still there when the reader comes back from a stream.
  const [list] = useState(() => new ListModel(environment.source, environment.surroundings, environment.nowS));
  const [cameFrom, setCameFrom] = useState<string | null>(null);
  const [done, setDone] = useState<string | null>(null);
  if (streamId !== null && streamId !== cameFrom) {
    setCameFrom(streamId);
    setDone(null);
  }
  const leave = (id: string) => {
    list.forget(id);
    setDone(`Erased ${id}`);
    environment.go("#/streams");
  };
  return (
    <EnvironmentContext.Provider value={environment}>
      <div class="streams">
        {streamId === null ? (
          <StreamList model={list} cameFrom={cameFrom} done={done} />
        ) : (
          <OpenedStream key={streamId} id={streamId} onErased={leave} />
        )}
      </div>
    </EnvironmentContext.Provider>
  );
}
