import { ModelError } from "../errors.ts";
import type { Json } from "./files.ts";

/** The object under a key of a checkpoint's settings. Throws checkpoint_config_invalid. */
export function object(json: Json, key: string): Json {
  const value = json[key];
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid(`${key} is missing`);
  return value as Json;
}

/** The number under the first of some keys that holds one. Throws checkpoint_config_invalid where none does and no fallback is given. */
export function number(json: Json, keys: readonly string[], fallback?: number): number {
  for (const key of keys) if (typeof json[key] === "number") return json[key];
  if (fallback !== undefined) return fallback;
  throw invalid(`${keys.join(" or ")} is missing`);
}

/** The list of numbers under the first of some keys that holds a list. Throws checkpoint_config_invalid. */
export function numbers(json: Json, keys: readonly string[], length?: number): number[] {
  for (const key of keys) {
    const value = json[key];
    if (!Array.isArray(value)) continue;
    if (!value.every((n) => typeof n === "number") || (length !== undefined && value.length !== length)) {
      throw invalid(`${key} must be ${length ?? "a list of"} numbers`);
    }
    return value;
  }
  throw invalid(`${keys.join(" or ")} is missing`);
}

/** A setting that would change answers and is not known here must stand at the value at which it does nothing. */
export function neutral(
  json: Json,
  where: string,
  settings: Readonly<Record<string, readonly unknown[]>>,
  advice = "",
): void {
  for (const [key, values] of Object.entries(settings)) {
    const value = json[key];
    if (value === undefined || value === null || values.includes(value)) continue;
    throw new ModelError(
      "checkpoint_unsupported",
      `${where} sets ${key} to ${JSON.stringify(value).slice(0, 100)}, which changes answers and is not supported.${advice}`,
    );
  }
}

export function invalid(what: string): ModelError {
  return new ModelError("checkpoint_config_invalid", `The checkpoint's configuration cannot be used: ${what}.`);
}
