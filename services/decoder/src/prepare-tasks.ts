import {
  encodePrompt,
  findTask,
  type GenerationOptions,
  type Manifest,
  ModelError,
  newTokensDefault,
  resolveOptions,
  type TaskRow,
  type Tokenizer,
  tasksOf,
} from "@florence/model";
import { EarlyStopping, type GenerateRequest, type GenerationOptions as WireOptions } from "@florence/proto/decoder";
import type { JobTask } from "./job.ts";

/** A task of a request: what to generate and how to read the answer, or why it cannot be asked. */
export type PreparedTask = { readonly row: TaskRow; readonly job: JobTask } | { readonly error: ModelError };

/** Builds every task's prompt. A task that cannot be asked does not spoil the others; options that cannot be used spoil all. */
export function prepareTasks(
  request: GenerateRequest,
  manifest: Manifest,
  tokenizer: Tokenizer,
  newTokensMax: number,
): PreparedTask[] {
  const options = resolveOptions(fromWire(request.options, newTokensMax, manifest), manifest.config);
  return request.tasks.map(({ name, input }) => {
    try {
      const row = findTask(name, tasksOf(manifest));
      const promptIds = encodePrompt({ tokenizer, manifest }, row, input === "" ? undefined : input);
      return { row, job: { promptIds, options, ...(request.options?.constrain && { constrain: row.answer }) } };
    } catch (error) {
      if (error instanceof ModelError) return { error };
      throw error;
    }
  });
}

const earlyStopping: Partial<Record<EarlyStopping, boolean | "never">> = {
  [EarlyStopping.TRUE]: true,
  [EarlyStopping.FALSE]: false,
  [EarlyStopping.NEVER]: "never",
};

function fromWire(wire: WireOptions | undefined, newTokensMax: number, manifest: Manifest): Partial<GenerationOptions> {
  const stopping = wire && earlyStopping[wire.earlyStopping];
  const longest = Math.min(newTokensMax, manifest.config.text.positions);
  if (wire?.maxNewTokens !== undefined && wire.maxNewTokens > longest) {
    throw new ModelError(
      "option_invalid",
      `max_new_tokens must be a whole number from 1 to ${longest}, not ${wire.maxNewTokens}.`,
    );
  }
  return {
    maxNewTokens: wire?.maxNewTokens ?? Math.min(longest, newTokensDefault(manifest.config)),
    ...(wire?.numBeams !== undefined && { numBeams: wire.numBeams }),
    ...(wire?.lengthPenalty !== undefined && { lengthPenalty: wire.lengthPenalty }),
    ...(wire?.noRepeatNgramSize !== undefined && { noRepeatNgramSize: wire.noRepeatNgramSize }),
    ...(stopping !== undefined && { earlyStopping: stopping }),
  };
}
