import { Fault } from "@florence/service";
import type { z } from "zod";

/** Parses, or throws `option_invalid`, `region_invalid` or `body_invalid` with the place of the first mistake. */
export function parseFields<T>(schema: z.ZodType<T>, fields: unknown, place: readonly string[] = []): T {
  const result = schema.safeParse(fields);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = [...place, ...(issue?.path ?? [])];
  if (issue?.code === "unrecognized_keys") path.push(issue.keys[0] ?? "");
  const reason = issue?.code === "unrecognized_keys" ? "this field is not known" : (issue?.message ?? "invalid");
  throw new Fault(codeOf(path), `${placeOf(path)}: ${reason}.`);
}

function codeOf(path: readonly PropertyKey[]) {
  if (path[0] === "options" && path.length > 1) return "option_invalid";
  return path.includes("region") ? "region_invalid" : "body_invalid";
}

/** tasks[0].region.x1 */
function placeOf(path: readonly PropertyKey[]): string {
  // A name out of a request may be long; this much of it is enough to find it.
  const part = (key: PropertyKey) => String(key).slice(0, 64);
  return (
    path.map((key, i) => (typeof key === "number" ? `[${key}]` : i === 0 ? part(key) : `.${part(key)}`)).join("") ||
    "body"
  );
}
