// A chat without a bundler or a framework. Open it as index.html?relay=http://127.0.0.1:8080.

import { LLMStreamClient } from "../../dist/index.js";

const relay = new URLSearchParams(location.search).get("relay") ?? "http://127.0.0.1:8080";
const client = new LLMStreamClient({ baseURL: relay });

const form = document.getElementById("ask");
const question = document.getElementById("question");
const send = document.getElementById("send");
const stop = document.getElementById("stop");
const state = document.getElementById("state");
const answer = document.getElementById("answer");

const WORDS = {
  waiting: () => "Waiting for the first token…",
  streaming: () => "Answering…",
  reconnecting: ({ reason }) => `Connection lost (${reason}), resuming…`,
  completed: ({ finishReason }) => (finishReason === "length" ? "Stopped at the token limit" : "Complete"),
  cancelled: ({ cause }) => (cause === "client_stop" ? "Stopped by you" : `Stopped: ${cause}`),
  truncated: ({ cause, message }) => `Cut off: ${message ?? cause}`,
  failed: ({ cause, message }) => `No answer: ${message ?? cause}`,
};

/** What is shown of an answer that runs, and of how it ended. */
const shown = {
  onChunk: ({ text }) => answer.append(text),
  onState: (status) => {
    state.textContent = WORDS[status.state](status);
  },
  onComplete: () => setRunning(false),
  onError: () => setRunning(false),
};

function setRunning(isRunning) {
  send.disabled = isRunning;
  stop.disabled = !isRunning;
}

function begin(generation) {
  answer.textContent = "";
  setRunning(true);
  shown.onState(generation.status);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const messages = [{ role: "user", content: question.value }];
  begin(client.generate("/api/v1/chat/stream", { messages }, shown));
});

stop.addEventListener("click", () => client.cancel());

// The page was reloaded in mid-answer: the relay has gone on, and sends it again from the start.
const [saved] = client.pending();
if (saved) begin(client.attach(saved.streamId, shown));
