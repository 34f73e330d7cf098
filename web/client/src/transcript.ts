/** What has come of a stream, as its caller is to see it. */

import { type ChatChunk, choicesOf, reasoningOf, textOf } from "./chunk.ts";
import { isObject, type JsonObject, textOrNull } from "./json.ts";
import type { Entry } from "./session.ts";
import { type ToolCall, ToolCalls } from "./tool-calls.ts";

/** What some entries add. */
export interface Addition {
  readonly text: string;
  readonly reasoning: string;
  readonly chunks: readonly ChatChunk[];
}

/** Text that comes in pieces; half a character (engines cut emoji between two chunks) waits for its other half. */
class Whole {
  #half = "";

  next(piece: string): string {
    if (piece === "") return "";
    const text = this.#half + piece;
    const last = text.charCodeAt(text.length - 1);
    const isCut = last >= 0xd800 && last <= 0xdbff;
    this.#half = isCut ? text.slice(-1) : "";
    return wellFormed(isCut ? text.slice(0, -1) : text);
  }
}

/** Collects entries in order. Memory is of the order of the text and the tool calls. */
export class Transcript {
  /** Of choice 0, as its chunk said. */
  finishReason: string | null = null;
  usage: JsonObject | null = null;
  readonly #toolCalls = new ToolCalls();
  readonly #text = new Whole();
  readonly #reasoning = new Whole();

  get toolCalls(): ToolCall[] {
    return this.#toolCalls.calls();
  }

  /** Takes entries; returns what they add to choice 0. */
  add(entries: readonly Entry[]): Addition {
    let text = "";
    let reasoning = "";
    for (const { chunk } of entries) {
      if (isObject(chunk.usage)) this.usage = chunk.usage;
      for (const view of choicesOf(chunk)) {
        if (view.index !== 0) continue;
        text += this.#text.next(textOf(view));
        reasoning += this.#reasoning.next(reasoningOf(view));
        this.#toolCalls.add(view.delta.tool_calls);
        this.finishReason = textOrNull(view.choice.finish_reason) ?? this.finishReason;
      }
    }
    return { text, reasoning, chunks: entries.map(({ chunk }) => chunk) };
  }
}

/** Returns the text with U+FFFD for halves of surrogate pairs that have no other half. */
function wellFormed(text: string): string {
  return /\p{Surrogate}/u.test(text) ? text.replace(/\p{Surrogate}/gu, "\ufffd") : text;
}
