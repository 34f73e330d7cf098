import { type FormEvent, useState } from "react";
import { useLLMStream } from "./useLLMStream.ts";
import { words } from "./words.ts";

/** A text box, and the last answer. */
export function ChatBox({ relay, onUnmount }: { relay: string; onUnmount: "stop" | "keep" }) {
  const [question, setQuestion] = useState("");
  const { text, status, isRunning, ask, stop } = useLLMStream(relay, onUnmount);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    ask({ messages: [{ role: "user", content: question }] });
  };

  return (
    <>
      <form onSubmit={submit}>
        <label htmlFor="question">Message</label>
        <textarea id="question" rows={3} required value={question} onChange={(e) => setQuestion(e.target.value)} />
        <button type="submit" disabled={isRunning}>
          Send
        </button>
        <button type="button" disabled={!isRunning} onClick={stop}>
          Stop
        </button>
      </form>
      <p className="state" role="status">
        {status && words(status)}
      </p>
      <article className="answer" aria-label="Answer">
        {text}
      </article>
    </>
  );
}
