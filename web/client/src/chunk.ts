/** Typed looks into chunks, as far as possible also into odd ones: dropping a chunk would lose text. */

import { isObject, type JsonObject } from "./json.ts";

/** One chunk of OpenAI's streaming format, as the engine wrote it: its fields are not checked. */
export type ChatChunk = JsonObject;

/** A choice of a chunk: `choice` the whole, `delta` what changes. */
export interface ChoiceView {
  readonly index: number;
  readonly choice: JsonObject;
  readonly delta: JsonObject;
}

/** Fields of a delta that count as content; the role alone does not. */
const CONTENT = [
  "content",
  "reasoning_content",
  "reasoning",
  "refusal",
  "tool_calls",
  "function_call",
  "audio",
] as const;

/** Returns the choices of a chunk; one without an index has its position. */
export function choicesOf(chunk: ChatChunk): ChoiceView[] {
  const choices: readonly unknown[] = Array.isArray(chunk.choices) ? chunk.choices : [chunk.choices];
  return choices.flatMap((choice, position) => {
    if (!isObject(choice)) return [];
    const { index, delta } = choice;
    return [
      {
        index: typeof index === "number" && Number.isInteger(index) ? index : position,
        choice,
        delta: isObject(delta) ? delta : delta ? { content: delta } : {},
      },
    ];
  });
}

/** Returns the text that a choice adds; of content in parts, that of its text parts. */
export function textOf({ choice, delta }: ChoiceView): string {
  return plain(delta.content) || plain(choice.text);
}

/** Returns the reasoning that a choice adds, under whichever of its two names. */
export function reasoningOf({ delta }: ChoiceView): string {
  return plain(delta.reasoning_content) || plain(delta.reasoning);
}

/** True when a chunk adds to any choice: text, reasoning, a refusal, a tool call. */
export function bearsContent(chunk: ChatChunk): boolean {
  return choicesOf(chunk).some(
    ({ choice, delta }) => isFull(choice.text) || CONTENT.some((field) => isFull(delta[field])),
  );
}

function isFull(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : Boolean(value);
}

function plain(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part: unknown) => (isObject(part) && typeof part.text === "string" ? part.text : "")).join("");
}
