/** Tool calls put together from their fragments, as engines really send them. */

import { isObject, type JsonObject } from "./json.ts";

/** A whole tool call in OpenAI's shape. */
export interface ToolCall {
  readonly id: string;
  readonly type: string;
  readonly function: { readonly name: string; readonly arguments: string };
}

interface Growing {
  id: string;
  type: string;
  name: string;
  /** Joined once, so that many short fragments cost linear time. */
  arguments: string[];
}

/**
 * The tool calls of one message. OpenAI's rule: fragments with the same `index` belong together. Around it:
 *
 * - Without an index: a known `id` belongs to its call, a new `id` or a function name without an id begins a call, anything
 *   else continues the last one.
 * - The same index with another `id` and a function name begins a call (some hosts number all calls 0); with another id alone
 *   it does not (older vLLM makes up an id for each fragment). The first id stays.
 * - `arguments` that come as an object become its JSON.
 * - A call that never got an id is named `call_0`, `call_1` …, since clients must name it in their reply.
 */
export class ToolCalls {
  readonly #calls: Growing[] = [];
  readonly #byIndex = new Map<number, Growing>();
  readonly #byId = new Map<string, Growing>();

  /** Takes the fragments of one delta; a single fragment may stand without its list. */
  add(fragments: unknown): void {
    for (const fragment of Array.isArray(fragments) ? fragments : [fragments]) {
      if (isObject(fragment)) this.#add(fragment);
    }
  }

  /** Returns the calls so far, in the order in which they began. */
  calls(): ToolCall[] {
    return this.#calls.map((call, position) => ({
      id: call.id || `call_${position}`,
      type: call.type || "function",
      function: { name: call.name, arguments: call.arguments.join("") },
    }));
  }

  #add(fragment: JsonObject): void {
    const { index } = fragment;
    const id = typeof fragment.id === "string" ? fragment.id : "";
    const told = isObject(fragment.function) ? fragment.function : {};
    const name = typeof told.name === "string" ? told.name : "";
    const call =
      (typeof index === "number" ? this.#at(index, id, name) : this.#withoutIndex(id, name)) ?? this.#begin();
    if (typeof index === "number") this.#byIndex.set(index, call);
    if (id && !this.#byId.has(id)) this.#byId.set(id, call);
    call.id ||= id;
    call.type ||= typeof fragment.type === "string" ? fragment.type : "";
    // Engines that repeat the whole name in every fragment add nothing to it.
    if (name !== call.name) call.name += name;
    call.arguments.push(argumentsOf(told.arguments));
  }

  #begin(): Growing {
    const call: Growing = { id: "", type: "", name: "", arguments: [] };
    this.#calls.push(call);
    return call;
  }

  #at(index: number, id: string, name: string): Growing | undefined {
    const call = this.#byIndex.get(index);
    const isAnother = call !== undefined && name !== "" && id !== "" && call.id !== "" && call.id !== id;
    return isAnother ? undefined : call;
  }

  #withoutIndex(id: string, name: string): Growing | undefined {
    if (id !== "") return this.#byId.get(id);
    return name !== "" ? undefined : this.#calls.at(-1);
  }
}

function argumentsOf(value: unknown): string {
  if (typeof value === "string") return value;
  return typeof value === "object" && value !== null ? JSON.stringify(value) : "";
}
