import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Colour, parseColour, type TaskRow, tasks } from "@florence/model/tasks";
import { EarlyStopping, type GenerationOptionsSchema } from "@florence/proto/decoder";
import { Fault, toFault } from "@florence/service";
import type { z } from "zod";
import { parseFields } from "../http/parse-fields.ts";
import type { Limits } from "../limits.ts";
import type { CallForm } from "./forms.ts";
import type { ImageSource } from "./image-source.ts";
import { callSchema, readingSchema, type TaskEntry, uploadSchema } from "./schema.ts";
import { type TaskRequest, toTaskRequest } from "./task-request.ts";

/** How an image is read. */
export interface ImageReading {
  /** Apply the EXIF orientation; coordinates then refer to the upright image. */
  readonly autoOrient: boolean;
  /** What transparent pixels are seen on; without one their stored colours are read. */
  readonly background?: Colour | undefined;
}

/** A call about an image, whichever form or dialect it came in. */
export interface AnnotateRequest extends ImageReading {
  readonly image: ImageSource;
  readonly tasks: readonly TaskRequest[];
  readonly generation: MessageInitShape<typeof GenerationOptionsSchema>;
  /** Add ids, prompt_ids and token_log_probs to each result. */
  readonly details: boolean;
  /** Answer with events instead of one JSON document. */
  readonly stream: boolean;
}

/** An image to be encoded now and asked about later. */
export type UploadRequest = ImageReading & Pick<AnnotateRequest, "image">;

/**
 * Checks everything that can be checked without the image's content. `acceptsEvents`: whether a call that does not say is answered with
 * events. `known` gives all tasks there are, and is asked only for a task that is not one of Florence-2's. Throws Faults of the request's
 * kinds, and what `known` throws.
 */
export async function toAnnotateRequest(
  { image, fields }: CallForm,
  limits: Limits,
  acceptsEvents: boolean,
  known: () => Promise<readonly TaskRow[]>,
): Promise<AnnotateRequest> {
  const call = parseFields(callSchema(limits), fields);
  return {
    image,
    ...toReading(image, call.options),
    tasks: await toTaskRequests(call.tasks, limits, known),
    generation: toGenerationOptions(call.options ?? {}),
    details: call.options?.details ?? false,
    stream: call.stream ?? acceptsEvents,
  };
}

async function toTaskRequests(
  entries: readonly TaskEntry[],
  limits: Limits,
  known: () => Promise<readonly TaskRow[]>,
): Promise<TaskRequest[]> {
  const read = (rows: readonly TaskRow[]) => entries.map((entry, index) => toTaskRequest(entry, index, limits, rows));
  try {
    return read(tasks);
  } catch (error) {
    // Florence-2's own tasks are known while no service is there.
    if (toFault(error).code !== "task_unknown") throw error;
    return read(await known());
  }
}

/** The same for an upload, which has no tasks. */
export function toUploadRequest({ image, fields }: CallForm): UploadRequest {
  if (image.kind === "id") throw new Fault("body_invalid", "image.id: this image has been sent already.");
  const { options } = parseFields(uploadSchema, fields);
  return { image, ...toReading(image, options) };
}

function toReading(image: ImageSource, options: z.infer<typeof readingSchema> = {}): ImageReading {
  const { auto_orient = true, background } = options;
  for (const name of readingSchema.keyof().options) {
    if (image.kind !== "id" || options[name] === undefined) continue;
    throw new Fault("option_invalid", `options.${name}: this was settled when the image was sent.`);
  }
  return { autoOrient: auto_orient, background: typeof background === "string" ? parseColour(background) : background };
}

type Options = NonNullable<z.infer<ReturnType<typeof callSchema>>["options"]>;

function toGenerationOptions(options: Options): AnnotateRequest["generation"] {
  const { max_new_tokens, num_beams, length_penalty, no_repeat_ngram_size, early_stopping, constrain } = options;
  return {
    ...(max_new_tokens !== undefined && { maxNewTokens: max_new_tokens }),
    ...(num_beams !== undefined && { numBeams: num_beams }),
    ...(length_penalty !== undefined && { lengthPenalty: length_penalty }),
    ...(no_repeat_ngram_size !== undefined && { noRepeatNgramSize: no_repeat_ngram_size }),
    earlyStopping: toEarlyStopping(early_stopping),
    constrain: constrain ?? false,
  };
}

function toEarlyStopping(value: Options["early_stopping"]): EarlyStopping {
  if (value === undefined) return EarlyStopping.UNSPECIFIED;
  if (value === "never") return EarlyStopping.NEVER;
  return value ? EarlyStopping.TRUE : EarlyStopping.FALSE;
}
