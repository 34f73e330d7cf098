import type { ChatPayload } from "@headrace/client";
import type { Sampling } from "../store/settings.ts";

/** One exchange as the model is to see it. */
export interface Said {
  readonly question: string;
  /** What the model said; "" where no answer came, and then the question is left out too. */
  readonly answer: string;
}

export interface Asked {
  readonly system: string;
  readonly before: readonly Said[];
  readonly question: string;
  readonly model: string | null;
  readonly sampling: Sampling;
}

/**
 * Return the request for an answer.
 *
 * Questions that got no answer are left out: many chat templates refuse two questions in a row.
 */
export function payloadOf({ system, before, question, model, sampling }: Asked): ChatPayload {
  const past = before.filter(({ answer }) => answer.trim() !== "");
  return {
    ...(model === null ? {} : { model }),
    messages: [
      ...(system.trim() === "" ? [] : [{ role: "system" as const, content: system }]),
      ...past.flatMap(({ question: asked, answer }) => [
        { role: "user" as const, content: asked },
        { role: "assistant" as const, content: answer },
      ]),
      { role: "user" as const, content: question },
    ],
    ...given("temperature", sampling.temperature),
    ...given("max_tokens", sampling.maxTokens),
    ...given("top_p", sampling.topP),
    ...given("seed", sampling.seed),
  };
}

function given(name: string, value: number | null): Record<string, number> {
  return value === null ? {} : { [name]: value };
}
