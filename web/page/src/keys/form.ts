/** The form of a new key: what was typed, as the relay's JSON, or what is wrong with it. */

import { LIMIT_NAMES, type LimitName } from "./key.ts";

export const EXPIRIES = [
  ["", "Never"],
  ["604800", "In 7 days"],
  ["2592000", "In 30 days"],
  ["7776000", "In 90 days"],
  ["31536000", "In a year"],
] as const;

/** Texts of the form's fields, each named as the relay names it. */
export interface KeyForm extends Readonly<Record<LimitName, string>> {
  readonly owner: string;
  readonly name: string;
  readonly role: string;
  /** One a line, or parted by commas; none: all. */
  readonly models: string;
  readonly day_usd: string;
  readonly month_usd: string;
  /** `name=value`, one a line. */
  readonly tags: string;
  /** Seconds; "": never. */
  readonly expires_in: string;
}

export type FieldName = keyof KeyForm;
export type FieldErrors = Readonly<Partial<Record<FieldName, string>>>;
export type KeyBody = Readonly<Record<string, unknown>>;

export const EMPTY_FORM: KeyForm = {
  owner: "",
  name: "",
  role: "member",
  models: "",
  requests_per_minute: "",
  tokens_per_minute: "",
  concurrent_streams: "",
  max_prompt_tokens: "",
  max_output_tokens: "",
  day_usd: "",
  month_usd: "",
  tags: "",
  expires_in: "",
};

const BUDGET_NAMES = ["day_usd", "month_usd"] as const;
const TAG = /^([^=\s]+)\s*=\s*(.*)$/;

/** Return the request for a key, or what is wrong by field: only what could not be sent at all; the relay judges the rest. */
export function bodyOf(form: KeyForm): { body: KeyBody } | { errors: FieldErrors } {
  const limits = numbersOf(form);
  const budget = amountsOf(form);
  const tags = tagsOf(form.tags);
  const owner = form.owner.trim();
  const errors = {
    ...limits.errors,
    ...budget.errors,
    ...tags.errors,
    ...(owner === "" ? { owner: "Whose key is it?" } : {}),
  };
  if (Object.keys(errors).length > 0) return { errors };
  const models = form.models.split(/[\n,]/).map((model) => model.trim());
  const named = models.filter((model) => model !== "");
  const body = {
    owner,
    role: form.role,
    ...(form.name.trim() === "" ? {} : { name: form.name.trim() }),
    ...(named.length === 0 ? {} : { models: named }),
    ...unlessEmpty("limits", limits.values),
    ...unlessEmpty("budget", budget.values),
    ...unlessEmpty("tags", tags.values),
    ...(form.expires_in === "" ? {} : { expires_in: Number(form.expires_in) }),
  };
  return { body };
}

/**
 * Return the field that the relay's `error.param` means; null when it is none of the form's.
 *
 * It may be a path: `limits.requests_per_minute`, `$.budget.day_usd`, `tags.team`, `models[0]`.
 */
export function fieldOf(param: string | null): FieldName | null {
  const steps = param?.split(/[^A-Za-z_]+/) ?? [];
  return steps.filter((step): step is FieldName => Object.hasOwn(EMPTY_FORM, step))[0] ?? null;
}

interface Read<Value> {
  readonly values: Readonly<Record<string, Value>>;
  readonly errors: FieldErrors;
}

function numbersOf(form: KeyForm): Read<number> {
  return read(LIMIT_NAMES, form, (text) => (/^\d{1,15}$/.test(text) && Number(text) > 0 ? Number(text) : null), {
    otherwise: "A whole number from 1 on, or nothing.",
  });
}

/** Amounts go as they were typed, so that no digit is lost. */
function amountsOf(form: KeyForm): Read<string> {
  return read(BUDGET_NAMES, form, (text) => (/^\d{1,10}(\.\d{1,9})?$/.test(text) ? text : null), {
    otherwise: "US dollars, such as 10 or 2.50, or nothing.",
  });
}

function read<Value>(
  names: readonly FieldName[],
  form: KeyForm,
  parse: (text: string) => Value | null,
  { otherwise }: { otherwise: string },
): Read<Value> {
  const values: Record<string, Value> = {};
  const errors: Partial<Record<FieldName, string>> = {};
  for (const name of names) {
    const text = form[name].trim();
    const value = text === "" ? undefined : parse(text);
    if (value === null) errors[name] = otherwise;
    else if (value !== undefined) values[name] = value;
  }
  return { values, errors };
}

function tagsOf(text: string): Read<string> {
  const values: Record<string, string> = {};
  for (const line of text.split("\n").map((raw) => raw.trim())) {
    const [, name, value] = TAG.exec(line) ?? [];
    if (name !== undefined && value !== undefined) values[name] = value;
    else if (line !== "") return { values: {}, errors: { tags: "One name=value a line." } };
  }
  return { values, errors: {} };
}

function unlessEmpty(name: string, values: object): Record<string, object> {
  return Object.keys(values).length === 0 ? {} : { [name]: values };
}
