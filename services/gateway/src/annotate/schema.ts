import { colourPattern, type PixelRegion } from "@florence/model/tasks";
import { z } from "zod";
import type { Limits } from "../limits.ts";
import { imageSchema } from "./image-source.ts";

const regionSchema: z.ZodType<PixelRegion> = z.strictObject({
  x1: z.number(),
  y1: z.number(),
  x2: z.number(),
  y2: z.number(),
});

// Control characters but tab and line breaks, and halves of surrogate pairs: the tokenizer would see something else than was asked for.
const unreadable = /[\p{Cc}--[\t\n\r]]|\p{Cs}/v;

const textSchema = z
  .string()
  .refine((text) => !unreadable.test(text), "holds a control character or half of a surrogate pair");

const taskSchema = z.strictObject({
  /** A name or a token; its input may follow: name=input, name:input, <TOKEN>input. */
  task: textSchema,
  text: z.union([textSchema, z.array(textSchema).min(1)]).optional(),
  region: regionSchema.optional(),
});

/** One entry of `tasks` as it was sent. */
export type TaskEntry = z.infer<typeof taskSchema>;

const channel = z.int().min(0).max(255);

/** The options that say how an image is read, settled when it is sent. */
export const readingSchema = z.strictObject({
  auto_orient: z.boolean().optional(),
  background: z
    .union([z.string().regex(colourPattern), z.tuple([channel, channel, channel])], {
      error: 'expected a colour, as "#rrggbb" or [red, green, blue] from 0 to 255',
    })
    .optional(),
});

const schemas = new WeakMap<Limits, ReturnType<typeof createCallSchema>>();

/** Everything of a call but its image. Strict: a field that is not known is a mistake that must not pass in silence. */
export function callSchema(limits: Limits): ReturnType<typeof createCallSchema> {
  const schema = schemas.get(limits) ?? createCallSchema(limits); // Made once: that takes longer than most checks.
  schemas.set(limits, schema);
  return schema;
}

function createCallSchema(limits: Limits) {
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
        ...readingSchema.shape,
        details: z.boolean().optional(),
      })
      .optional(),
    stream: z.boolean().optional(),
  });
}

/** The whole body of a call or an upload that comes as JSON, as JSON Schema. */
export function bodySchema(fields: ReturnType<typeof callSchema> | typeof uploadSchema): object {
  return z.toJSONSchema(z.strictObject({ image: imageSchema, ...fields.shape }));
}

/** Everything of an upload but its image. */
export const uploadSchema = z.strictObject({
  options: readingSchema.optional(),
});
