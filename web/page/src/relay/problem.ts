/** Why the relay did not do what it was asked for. */

export type ProblemKind = "unreachable" | "not_found" | "unauthorized" | "forbidden" | "refused";

export interface Problem {
  readonly kind: ProblemKind;
  /** In plain words; the relay's own where it had any. */
  readonly message: string;
  /** The field that is at fault, as the relay names it: `limits.requests_per_minute`. */
  readonly param: string | null;
}

/** What every question to the relay rejects with, save when it was aborted. */
export class SourceError extends Error implements Problem {
  readonly kind: ProblemKind;
  readonly param: string | null;

  constructor(kind: ProblemKind, message: string, param: string | null = null) {
    super(message);
    this.name = "SourceError";
    this.kind = kind;
    this.param = param;
  }
}

/** Return what is told of an error. */
export function problemOf(error: unknown): Problem {
  if (error instanceof SourceError) {
    return { kind: error.kind, message: error.message, param: error.param };
  }
  return { kind: "unreachable", message: error instanceof Error ? error.message : String(error), param: null };
}
