import type { EarlyStopping, ModelConfig } from "../checkpoint/config.ts";
import { ModelError } from "../errors.ts";

/** How an answer is generated; every field absent from a request comes from the checkpoint. */
export interface GenerationOptions {
  /** Longest answer in tokens, the forced first and last token included. */
  readonly maxNewTokens: number;
  /** 1 = greedy. */
  readonly numBeams: number;
  /** Beam scores are divided by length ** lengthPenalty. */
  readonly lengthPenalty: number;
  /** No run of this many tokens occurs twice in an answer; 0 = no ban. */
  readonly noRepeatNgramSize: number;
  /** true: stop at numBeams finished answers; false: when none can improve by its present length; "never": by its longest length. */
  readonly earlyStopping: EarlyStopping;
}

// Five beams need ten candidates a row of the graph's sixteen; the paper and its users go no further.
export const numBeamsMax = 5;
// Users who say nothing want whole answers: the model card's own setting, bounded by the position table.
const defaultMaxNewTokens = 1024;

/** Longest answer that the decoder's position table allows: its last input is one position before. */
export function newTokensMax(config: ModelConfig): number {
  return config.text.positions;
}

/** How long an answer may become where nobody says. */
export function newTokensDefault(config: ModelConfig): number {
  return Math.min(config.generation.maxNewTokens ?? defaultMaxNewTokens, newTokensMax(config));
}

// 2,000 characters of text are about 500 tokens. Large's table of 4,096 positions would allow more, at 0.4 GB of keys and values each.
const promptTokensLongest = 1024;

/** Longest prompt in tokens, <s> and </s> included: what image tokens leave of the position table, and no more than is of use. */
export function promptTokensMax(config: ModelConfig): number {
  return Math.min(promptTokensLongest, config.text.positions - config.imageTokens);
}

/** Fills a request's options from the checkpoint's and checks them. Throws option_invalid. */
export function resolveOptions(asked: Partial<GenerationOptions>, config: ModelConfig): GenerationOptions {
  const longest = newTokensMax(config);
  const options: GenerationOptions = {
    maxNewTokens: asked.maxNewTokens ?? newTokensDefault(config),
    numBeams: asked.numBeams ?? config.generation.numBeams,
    lengthPenalty: asked.lengthPenalty ?? config.generation.lengthPenalty,
    noRepeatNgramSize: asked.noRepeatNgramSize ?? config.generation.noRepeatNgramSize,
    earlyStopping: asked.earlyStopping ?? config.generation.earlyStopping,
  };
  whole("max_new_tokens", options.maxNewTokens, 1, longest);
  whole("num_beams", options.numBeams, 1, numBeamsMax);
  whole("no_repeat_ngram_size", options.noRepeatNgramSize, 0, longest);
  if (!Number.isFinite(options.lengthPenalty))
    throw new ModelError("option_invalid", "length_penalty must be a finite number.");
  if (![true, false, "never"].includes(options.earlyStopping))
    throw new ModelError("option_invalid", 'early_stopping must be true, false or "never".');
  return options;
}

function whole(name: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new ModelError("option_invalid", `${name} must be a whole number from ${min} to ${max}, not ${value}.`);
  }
}
