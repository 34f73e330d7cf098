import { say } from "../words.ts";
import type { AnswerRecord, MessageRecord, QuestionRecord } from "./types.ts";

/** A question and its answers, oldest first; the last is the one that counts. */
export interface Exchange {
  readonly question: QuestionRecord;
  readonly answers: readonly AnswerRecord[];
}

/** Return the exchanges that messages make, in their order; answers without their question are left out. */
export function exchangesOf(messages: readonly MessageRecord[]): Exchange[] {
  const answers = messages.filter((message) => message.kind === "answer");
  const byTime = (a: MessageRecord, b: MessageRecord) => a.createdAt - b.createdAt || a.id.localeCompare(b.id);
  return messages
    .filter((message) => message.kind === "question")
    .sort((a, b) => a.position - b.position || byTime(a, b))
    .map((question) => ({
      question,
      answers: answers.filter(({ questionId }) => questionId === question.id).sort(byTime),
    }));
}

/** Return a conversation as Markdown: questions quoted, the last answer to each as it came, and how it ended. */
export function toMarkdown(title: string, exchanges: readonly Exchange[]): string {
  const parts = exchanges.flatMap(({ question, answers }) => {
    const answer = answers.at(-1);
    const asked = question.text.replace(/^/gm, "> ").replace(/ +$/gm, "");
    return answer === undefined ? [asked] : [asked, answer.text.trim(), `*${endOf(answer)}*`];
  });
  return `${[`# ${title}`, ...parts].filter((part) => part !== "").join("\n\n")}\n`;
}

/** Return a conversation as JSON, with every version of every answer: what is kept of it, word for word. */
export function toJSON(title: string, exchanges: readonly Exchange[]): string {
  const turns = exchanges.map(({ question, answers }) => ({
    question: { text: question.text, created_at: isoOf(question.createdAt) },
    answers: answers.map((answer) => ({
      text: answer.text,
      reasoning: answer.reasoning === "" ? null : answer.reasoning,
      model: answer.model,
      stream_id: answer.streamId,
      created_at: isoOf(answer.createdAt),
      end: answer.status,
      words: endOf(answer),
      ...factsOf(answer),
    })),
  }));
  return `${JSON.stringify({ object: "conversation", title, turns }, null, 2)}\n`;
}

/** Return a file name for a title, without its ending: letters and digits of any script, joined by hyphens. */
export function fileNameOf(title: string): string {
  const words = title.toLowerCase().match(/[\p{L}\p{N}\p{M}]+/gu) ?? [];
  return words.join("-").slice(0, 60).replace(/-+$/, "") || "conversation";
}

function endOf({ status, facts, model }: AnswerRecord): string {
  const end = say({ ...status, tokens: facts.tokens });
  return model === null ? end : `${model}: ${end}`;
}

function factsOf({ facts }: AnswerRecord): Record<string, number | null> {
  return {
    tokens: facts.tokens,
    ttft_ms: facts.ttftMs,
    tokens_per_second: facts.tokensPerSecond,
    cost_usd: facts.bill ? facts.bill.usd : facts.cost,
  };
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}
