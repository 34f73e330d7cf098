/** What a stream's JSON says of where its answer came from. */

import type { AnswerOrigin } from "../store/types.ts";

type Fields = Readonly<Record<string, unknown>>;

/** Return who answered, and over which ways; null where the relay does not tell. */
export function originOf(record: Fields): AnswerOrigin | null {
  const source = textOf(record.source);
  const engine = textOf(record.engine);
  if (source === null || engine === null) return null;
  const tries = Array.isArray(record.attempts) ? record.attempts.length : 0;
  const seams = Array.isArray(record.seams) ? record.seams.length : 0;
  return { engine, engineModel: textOf(record.engine_model), source, attempts: Math.max(1, tries), seams };
}

function textOf(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}
