import { setImmediate as nextTurn } from "node:timers/promises";
import {
  encodePrompt,
  findTask,
  type GenerationOptions,
  type Manifest,
  ModelError,
  newTokensDefault,
  promptTokensMax,
  resolveOptions,
  type TaskRow,
  type Tokenizer,
  tasksOf,
} from "@florence/model";
import { EarlyStopping, type GenerateRequest, type GenerationOptions as WireOptions } from "@florence/proto/decoder";
import type { JobTask } from "./job.ts";

/** A task of a request: what to generate and how to read the answer, or why it cannot be asked. */
export type PreparedTask = { readonly row: TaskRow; readonly job: JobTask } | { readonly error: ModelError };

// About a millisecond of tokenising: a longer text lets others have the thread before the next.
const charactersAtOnceMax = 1_000;

/** Builds the prompts of one checkpoint. */
export class TaskPreparation {
  readonly #manifest: Manifest;
  readonly #tokenizer: Tokenizer;
  readonly #newTokensMax: number;
  readonly #promptBytesMax: number;

  constructor(manifest: Manifest, tokenizer: Tokenizer, newTokensMax: number) {
    this.#manifest = manifest;
    this.#tokenizer = tokenizer;
    this.#newTokensMax = newTokensMax;
    this.#promptBytesMax = promptTokensMax(manifest.config) * longestTokenBytes(tokenizer);
  }

  /**
   * Builds every task's prompt. A task that cannot be asked does not spoil the others; options that cannot be used spoil all. Rejects with
   * the signal's reason.
   */
  async prepare(request: GenerateRequest, signal: AbortSignal): Promise<PreparedTask[]> {
    const { config } = this.#manifest;
    const options = resolveOptions(fromWire(request.options, this.#newTokensMax, this.#manifest), config);
    const prepared: PreparedTask[] = [];
    for (const { name, input } of request.tasks) {
      prepared.push(this.#prepare(name, input, options, request.options?.constrain ?? false));
      if (input.length <= charactersAtOnceMax) continue;
      await nextTurn();
      signal.throwIfAborted();
    }
    return prepared;
  }

  #prepare(name: string, input: string, options: GenerationOptions, constrain: boolean): PreparedTask {
    try {
      const row = findTask(name, tasksOf(this.#manifest));
      this.#checkBytes(input);
      const model = { tokenizer: this.#tokenizer, manifest: this.#manifest };
      const promptIds = encodePrompt(model, row, input === "" ? undefined : input);
      return { row, job: { promptIds, options, ...(constrain && { constrain: row.answer }) } };
    } catch (error) {
      if (error instanceof ModelError) return { error };
      throw error;
    }
  }

  /** A text that could not fit if each of its tokens were the longest there is need not be tokenised to know that. */
  #checkBytes(input: string): void {
    const bytes = Buffer.byteLength(input);
    if (bytes <= this.#promptBytesMax) return;
    const longest = promptTokensMax(this.#manifest.config);
    throw new ModelError(
      "prompt_too_long",
      `The prompt has ${bytes} bytes; this model takes at most ${longest} tokens.`,
    );
  }
}

/** The most bytes of text that one token stands for. */
function longestTokenBytes(tokenizer: Tokenizer): number {
  let longest = 1;
  for (let id = 0; id < tokenizer.size; id++) longest = Math.max(longest, Buffer.byteLength(tokenizer.decode([id])));
  return longest;
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
