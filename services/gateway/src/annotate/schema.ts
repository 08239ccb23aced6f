import { Fault } from "@florence/service";
import { z } from "zod";
import type { Limits } from "../limits.ts";

const regionSchema = z.strictObject({ x1: z.number(), y1: z.number(), x2: z.number(), y2: z.number() });

const taskSchema = z.strictObject({
  task: z.string(),
  text: z.union([z.string(), z.array(z.string()).min(1)]).optional(),
  region: regionSchema.optional(),
});

/** Corners in pixels of the image. */
export type PixelRegion = z.infer<typeof regionSchema>;

/** One entry of `tasks` as it was sent. */
export type TaskEntry = z.infer<typeof taskSchema>;

/** Everything of a call but its image. Strict: a field that is not known is a mistake that must not pass in silence. */
export function callSchema(limits: Limits) {
  return z.strictObject({
    tasks: z.array(taskSchema).min(1).max(limits.tasksMax),
    options: z
      .strictObject({
        max_new_tokens: z.int().min(1).max(limits.newTokensMax).optional(),
        num_beams: z.int().min(1).max(limits.beamsMax).optional(),
        // Beyond this the power of a length of 1,024 leaves what a float32 can hold.
        length_penalty: z.number().min(-10).max(10).optional(),
        // 0 switches the rule off.
        no_repeat_ngram_size: z.int().min(0).max(limits.newTokensMax).optional(),
        early_stopping: z.union([z.boolean(), z.literal("never")]).optional(),
        constrain: z.boolean().optional(),
        auto_orient: z.boolean().optional(),
        details: z.boolean().optional(),
      })
      .optional(),
    stream: z.boolean().optional(),
  });
}

/** Everything of an upload but its image. */
export const uploadSchema = z.strictObject({
  options: z.strictObject({ auto_orient: z.boolean().optional() }).optional(),
});

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
