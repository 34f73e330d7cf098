import { IndexedRecords } from "./indexed.ts";
import { MemoryRecords } from "./memory.ts";
import type { Records } from "./records.ts";

const NAME = "headrace";

/** A browser that asks its reader first, or another tab that holds an older version, must not hold up the page. */
const PATIENCE_MS = 3000;

/** Open the records of this browser; where it keeps none (private mode, storage denied), of this tab alone. */
export async function openRecords(name = NAME): Promise<Records> {
  try {
    return await Promise.race([IndexedRecords.open(name), refusal(PATIENCE_MS)]);
  } catch {
    return new MemoryRecords();
  }
}

function refusal(ms: number): Promise<never> {
  return new Promise((_, reject) => setTimeout(() => reject(new Error("the database did not open in time")), ms));
}
