export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue };

// Far deeper than a form is; what is nested thousands deep, as a model that repeats itself may write it, could not be sent.
const depthMax = 64;

/**
 * What the text of a json answer says; undefined where it is no JSON, where it is nested more than 64 deep, and where a number of it is
 * beyond what a float64 holds.
 */
export function readJsonAnswer(text: string): JsonValue | undefined {
  try {
    const value = JSON.parse(text) as JsonValue;
    return canBeSent(value, depthMax) ? value : undefined;
  } catch {
    return undefined;
  }
}

function canBeSent(value: JsonValue, depth: number): boolean {
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object" || value === null) return true;
  return depth > 0 && Object.values(value).every((inner) => canBeSent(inner, depth - 1));
}
