import {
  type ChatPayload,
  type GenerateOptions,
  type Generation,
  LLMStreamClient,
  type StreamStatus,
} from "@headrace/client";
import { useCallback, useEffect, useRef, useState } from "react";

export interface LLMStream {
  text: string;
  /** null: nothing was asked yet. */
  status: StreamStatus | null;
  isRunning: boolean;
  ask(payload: ChatPayload): void;
  stop(): void;
}

const RUNNING: ReadonlySet<StreamStatus["state"] | undefined> = new Set(["waiting", "streaming", "reconnecting"]);

/**
 * One answer at a time.
 *
 * @param baseURL The relay.
 * @param onUnmount What becomes of an answer that runs when the component goes: "stop" stops the engine, "keep" lets
 *   it go on, and the next mount in this tab follows it.
 */
export function useLLMStream(baseURL: string, onUnmount: "stop" | "keep" = "keep"): LLMStream {
  const current = useRef<LLMStreamClient | null>(null);
  const [text, setText] = useState("");
  const [status, setStatus] = useState<StreamStatus | null>(null);

  const follow = useCallback((begin: (client: LLMStreamClient, options: GenerateOptions) => Generation) => {
    if (current.current === null) return;
    setText("");
    const onChunk: GenerateOptions["onChunk"] = (_, generation) => setText(generation.text);
    setStatus(begin(current.current, { onChunk, onState: (now) => setStatus(now) }).status);
  }, []);

  useEffect(() => {
    const client = new LLMStreamClient({ baseURL, onUnmount });
    current.current = client;
    // In development StrictMode mounts, unmounts and mounts again at once: nothing may begin before that is over, or
    // the unmount between would stop what the second mount wants to resume.
    const timer = setTimeout(() => {
      const [saved] = client.pending();
      if (saved !== undefined) follow((own, options) => own.attach(saved.streamId, options));
    });
    return () => {
      clearTimeout(timer);
      current.current = null;
      client.close();
    };
  }, [baseURL, onUnmount, follow]);

  const ask = useCallback(
    (payload: ChatPayload) => follow((own, options) => own.generate("/api/v1/chat/stream", payload, options)),
    [follow],
  );
  const stop = useCallback(() => void current.current?.cancel(), []);
  return { text, status, isRunning: RUNNING.has(status?.state), ask, stop };
}
