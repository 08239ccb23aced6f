import { numBeamsMax } from "../generation/options.ts";
import type { Layout } from "./config.ts";
import { invalid, neutral } from "./fields.ts";
import type { Json } from "./files.ts";

export type EarlyStopping = boolean | "never";

/** The checkpoint's own generation settings. Requests override the first five; the others always hold. */
export interface GenerationConfig {
  readonly numBeams: number;
  readonly earlyStopping: EarlyStopping;
  readonly lengthPenalty: number;
  readonly noRepeatNgramSize: number;
  /** Longest answer where a request names none; undefined: as long as the model card has it. */
  readonly maxNewTokens: number | undefined;
  readonly forcedBos: number | undefined;
  readonly forcedEos: number | undefined;
  /** No end before an answer has so many tokens, the decoder's start token included. */
  readonly minLength: number;
  /** Above 1 makes tokens less likely that the answer holds already; 1 changes nothing. */
  readonly repetitionPenalty: number;
  /** Tokens that never occur. */
  readonly suppressTokens: readonly number[];
  /** Tokens that do not occur first, after a forced one. */
  readonly beginSuppressTokens: readonly number[];
  /** Runs of tokens that never occur. */
  readonly badWords: readonly (readonly number[])[];
}

/** What the model card sets: where a folder does not say how to generate, its user expects this. */
const modelCard: Json = {
  num_beams: 3,
  early_stopping: true,
  length_penalty: 1,
  no_repeat_ngram_size: 3,
  forced_bos_token_id: 0,
  forced_eos_token_id: 2,
};

/** What transformers' GenerationConfig sets where its file does not. */
const referenceDefaults: Json = { num_beams: 1, early_stopping: false, length_penalty: 1, no_repeat_ngram_size: 0 };

/** Settings that change answers and are not obeyed, with the values at which they do nothing. */
const unsupported: Readonly<Record<string, readonly unknown[]>> = {
  do_sample: [false],
  num_return_sequences: [1],
  num_beam_groups: [1],
  diversity_penalty: [0],
  penalty_alpha: [0],
  encoder_repetition_penalty: [1],
  encoder_no_repeat_ngram_size: [0],
  guidance_scale: [1],
  renormalize_logits: [false],
  token_healing: [false],
  cache_implementation: ["static", "dynamic", "hybrid", "offloaded", "offloaded_static"],
  sequence_bias: [],
  exponential_decay_length_penalty: [],
  force_words_ids: [],
  constraints: [],
  forced_decoder_ids: [],
  stop_strings: [],
  max_time: [],
  watermarking_config: [],
  dola_layers: [],
};

/**
 * The settings in force. In Hugging Face's layout generation_config.json decides alone, as transformers has it; in Microsoft's the
 * language model generates, so its text_config does, and generation_config.json fills what it leaves out. `generation`: undefined
 * where there is no such file. Throws checkpoint_config_invalid or checkpoint_unsupported, naming the key.
 */
export function parseGeneration(layout: Layout, text: Json, generation: Json | undefined): GenerationConfig {
  const alone = layout === "native" && generation !== undefined;
  const own = alone ? generation : text;
  const where = alone ? "generation_config.json" : "text_config";
  neutral(own, where, unsupported, " Take the key out to generate without it.");
  const shared = alone
    ? { ...referenceDefaults, ...present(own) }
    : { ...modelCard, ...present(generation ?? {}), ...present(text) };
  const maxNewTokens = count(own, "max_new_tokens") ?? lengthWithoutStart(count(own, "max_length"));
  const minNewTokens = count(own, "min_new_tokens");
  const config: GenerationConfig = {
    numBeams: count(shared, "num_beams") ?? 1,
    earlyStopping: shared.early_stopping as EarlyStopping,
    lengthPenalty: finite(shared, "length_penalty") ?? 1,
    noRepeatNgramSize: count(shared, "no_repeat_ngram_size") ?? 0,
    maxNewTokens,
    forcedBos: oneId(shared, "forced_bos_token_id"),
    forcedEos: oneId(shared, "forced_eos_token_id"),
    minLength: minNewTokens === undefined ? (count(own, "min_length") ?? 0) : minNewTokens + 1,
    repetitionPenalty: finite(own, "repetition_penalty") ?? 1,
    suppressTokens: ids(own, "suppress_tokens"),
    beginSuppressTokens: ids(own, "begin_suppress_tokens"),
    badWords: runs(own, "bad_words_ids"),
  };
  if (config.numBeams < 1 || config.numBeams > numBeamsMax)
    throw invalid(`${where} asks for ${config.numBeams} beams; 1 to ${numBeamsMax} are supported`);
  if (![true, false, "never"].includes(config.earlyStopping))
    throw invalid(`${where}: early_stopping must be true, false or "never"`);
  if (config.repetitionPenalty <= 0) throw invalid(`${where}: repetition_penalty must be above 0`);
  if (maxNewTokens === 0) throw invalid(`${where} allows no token: max_new_tokens or max_length is too small`);
  for (const [name, id] of [
    ["forced_bos_token_id", config.forcedBos],
    ["forced_eos_token_id", config.forcedEos],
  ] as const)
    if (id !== undefined && config.suppressTokens.includes(id)) throw invalid(`${where} suppresses its own ${name}`);
  return config;
}

/** The settings that are not null. */
function present(json: Json): Json {
  return Object.fromEntries(Object.entries(json).filter(([, value]) => value !== null && value !== undefined));
}

/** max_length counts the decoder's start token, which is no new one. */
function lengthWithoutStart(length: number | undefined): number | undefined {
  return length === undefined ? undefined : Math.max(0, length - 1);
}

function finite(json: Json, key: string): number | undefined {
  const value = json[key] ?? undefined;
  if (value === undefined || (typeof value === "number" && Number.isFinite(value))) return value;
  throw invalid(`${key} must be a number`);
}

function count(json: Json, key: string): number | undefined {
  const value = finite(json, key);
  if (value !== undefined && (!Number.isSafeInteger(value) || value < 0))
    throw invalid(`${key} must be a whole number`);
  return value;
}

/** An id that may stand in a list by itself. */
function oneId(json: Json, key: string): number | undefined {
  const value = json[key];
  return count(Array.isArray(value) && value.length === 1 ? { [key]: value[0] } : json, key);
}

function ids(json: Json, key: string): number[] {
  const value = json[key] ?? [];
  if (!isIds(value)) throw invalid(`${key} must be a list of token ids`);
  return value;
}

function runs(json: Json, key: string): number[][] {
  const value = json[key] ?? [];
  if (!Array.isArray(value) || !value.every((run) => isIds(run) && run.length > 0))
    throw invalid(`${key} must be lists of token ids`);
  return value;
}

function isIds(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((id) => Number.isSafeInteger(id) && id >= 0);
}
