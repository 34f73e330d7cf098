import { effect, type Signal, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

/** How questions are asked. A number left out is the default of client or engine. */
export interface Sampling {
  readonly temperature: number | null;
  readonly maxTokens: number | null;
  readonly topP: number | null;
  readonly seed: number | null;
}

export type SamplingKey = keyof Sampling;

/** What each number may be, by OpenAI's contract. */
export const RANGES: Readonly<Record<SamplingKey, { min: number; max: number; step: number; whole: boolean }>> = {
  temperature: { min: 0, max: 2, step: 0.1, whole: false },
  maxTokens: { min: 1, max: 1_000_000, step: 1, whole: true },
  topP: { min: 0, max: 1, step: 0.05, whole: false },
  seed: { min: -9_007_199_254_740_991, max: 9_007_199_254_740_991, step: 1, whole: true },
};

const NAME = "headrace.settings";
const THEMES: readonly string[] = ["system", "light", "dark"];

/** What the reader chose, kept in this browser where it can be. */
export class Settings {
  readonly theme: Signal<Theme>;
  /** The model to ask; null until one was picked. */
  readonly model: Signal<string | null>;
  readonly system: Signal<string>;
  readonly sampling: Signal<Sampling>;

  constructor(storage: Pick<Storage, "getItem" | "setItem"> | null) {
    const saved = read(storage);
    this.theme = signal(isTheme(saved.theme) ? saved.theme : "system");
    this.model = signal(typeof saved.model === "string" ? saved.model : null);
    this.system = signal(typeof saved.system === "string" ? saved.system : "");
    this.sampling = signal(samplingOf(saved.sampling));
    effect(() => write(storage, this.#values()));
  }

  /** Set one number; text that is no number within its range changes nothing and returns false, "" clears it. */
  setSampling(key: SamplingKey, text: string): boolean {
    const value = text.trim() === "" ? null : Number(text);
    if (value !== null && !isWithin(key, value)) return false;
    this.sampling.value = { ...this.sampling.value, [key]: value };
    return true;
  }

  #values(): Record<string, unknown> {
    const { theme, model, system, sampling } = this;
    return { theme: theme.value, model: model.value, system: system.value, sampling: sampling.value };
  }
}

function isWithin(key: SamplingKey, value: unknown): value is number {
  const { min, max, whole } = RANGES[key];
  return typeof value === "number" && value >= min && value <= max && (!whole || Number.isInteger(value));
}

function samplingOf(saved: unknown): Sampling {
  const values = isObject(saved) ? saved : {};
  const pick = (key: SamplingKey): number | null => {
    const value = values[key];
    return isWithin(key, value) ? value : null;
  };
  return { temperature: pick("temperature"), maxTokens: pick("maxTokens"), topP: pick("topP"), seed: pick("seed") };
}

function isTheme(value: unknown): value is Theme {
  return typeof value === "string" && THEMES.includes(value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function read(storage: Pick<Storage, "getItem"> | null): Record<string, unknown> {
  try {
    const saved: unknown = JSON.parse(storage?.getItem(NAME) ?? "{}");
    return isObject(saved) ? saved : {};
  } catch {
    return {};
  }
}

function write(storage: Pick<Storage, "setItem"> | null, values: Record<string, unknown>): void {
  try {
    storage?.setItem(NAME, JSON.stringify(values));
  } catch {
    // A browser that keeps nothing: the choice lasts as long as the tab.
  }
}
