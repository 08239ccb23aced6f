import { ModelError } from "../errors.ts";

export type Layout = "original" | "native";

/** DaViT: one entry a stage in every array. */
export interface VisionConfig {
  readonly channels: readonly number[];
  readonly depths: readonly number[];
  readonly heads: readonly number[];
  readonly groups: readonly number[];
  readonly windowSize: number;
  readonly patchSize: readonly number[];
  readonly patchStride: readonly number[];
  readonly patchPadding: readonly number[];
  readonly patchPrenorm: readonly boolean[];
  readonly mlpRatio: number;
  /** Rows of the two position tables: the widest feature map. */
  readonly positions: number;
  /** Rows of the temporal table. */
  readonly frames: number;
}

/** BART encoder and decoder. */
export interface TextConfig {
  readonly hidden: number;
  readonly vocabulary: number;
  readonly encoderLayers: number;
  readonly decoderLayers: number;
  readonly encoderHeads: number;
  readonly decoderHeads: number;
  readonly encoderFfn: number;
  readonly decoderFfn: number;
  readonly positions: number;
  readonly bos: number;
  readonly pad: number;
  readonly eos: readonly number[];
  readonly decoderStart: number;
}

export type EarlyStopping = boolean | "never";

/** The checkpoint's own generation settings; requests override them. */
export interface GenerationConfig {
  readonly numBeams: number;
  readonly earlyStopping: EarlyStopping;
  readonly lengthPenalty: number;
  readonly noRepeatNgramSize: number;
  readonly forcedBos: number | undefined;
  readonly forcedEos: number | undefined;
}

export interface PreprocessConfig {
  /** Side of the square input image, in pixels. */
  readonly size: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly rescale: number;
}

export interface ModelConfig {
  readonly vision: VisionConfig;
  readonly text: TextConfig;
  readonly generation: GenerationConfig;
  readonly preprocess: PreprocessConfig;
  /** Side of each stage's feature map. */
  readonly maps: readonly number[];
  /** Rows of an embedding: one pooled token and one for each place of the last map. */
  readonly imageTokens: number;
}

type Json = Record<string, unknown>;

/**
 * Reads the sizes and settings of a checkpoint from its JSON files, in either layout. Sizes have no defaults but those that the
 * reference implementation itself fills in. Special ids come from text_config: the top-level ones are wrong in several checkpoints.
 * Throws checkpoint_config_invalid naming the key.
 */
export function parseConfig(config: Json, generation: Json, preprocessor: Json): ModelConfig {
  const vision = parseVision(object(config, "vision_config"));
  const textJson = object(config, "text_config");
  const text = parseText(textJson);
  const preprocess = parsePreprocess(preprocessor);
  const maps: number[] = [];
  let side = preprocess.size;
  for (const [i, kernel] of vision.patchSize.entries()) {
    side = Math.floor((side + 2 * at(vision.patchPadding, i) - kernel) / at(vision.patchStride, i)) + 1;
    maps.push(side);
  }
  if (side < 1 || side > vision.positions) {
    throw invalid(
      `an image of ${preprocess.size} px gives a feature map of ${side} places, but the position table has ${vision.positions}`,
    );
  }
  const imageTokens = side * side + 1;
  if (imageTokens + 2 > text.positions) {
    throw invalid(`${imageTokens} image tokens leave no room for a prompt in ${text.positions} positions`);
  }
  return { vision, text, preprocess, generation: parseGeneration(textJson, generation), maps, imageTokens };
}

function parseVision(json: Json): VisionConfig {
  const channels = numbers(json, ["embed_dim", "dim_embed"]);
  const stages = channels.length;
  const list = (...keys: string[]) => numbers(json, keys, stages);
  const sources = json.image_feature_source;
  if (sources !== undefined && JSON.stringify(sources) !== '["spatial_avg_pool","temporal_avg_pool"]') {
    throw invalid(`image_feature_source ${JSON.stringify(sources)} is not supported`);
  }
  const prenorm = json.patch_prenorm;
  if (!Array.isArray(prenorm) || prenorm.length !== stages)
    throw invalid("vision_config.patch_prenorm is missing or of a wrong length");
  const position = (json.image_pos_embed ?? {}) as Json;
  const temporal = (json.visual_temporal_embedding ?? {}) as Json;
  return {
    channels,
    depths: list("depths"),
    heads: list("num_heads"),
    groups: list("num_groups"),
    windowSize: number(json, ["window_size"]),
    patchSize: list("patch_size"),
    patchStride: list("patch_stride"),
    patchPadding: list("patch_padding"),
    patchPrenorm: prenorm.map(Boolean),
    mlpRatio: number(json, ["mlp_ratio"], 4),
    positions: number({ ...position, ...json }, ["max_pos_embeddings", "max_position_embeddings"], 50),
    frames: number({ ...temporal, ...json }, ["max_temporal_embeddings"], 100),
  };
}

function parseText(json: Json): TextConfig {
  const activation = json.activation_function ?? "gelu";
  if (activation !== "gelu") throw invalid(`text_config.activation_function ${String(activation)} is not supported`);
  if (json.scale_embedding === true) throw invalid("text_config.scale_embedding is not supported");
  const eos = json.eos_token_id ?? 2;
  return {
    hidden: number(json, ["d_model"]),
    vocabulary: number(json, ["vocab_size"]),
    encoderLayers: number(json, ["encoder_layers"]),
    decoderLayers: number(json, ["decoder_layers"]),
    encoderHeads: number(json, ["encoder_attention_heads"]),
    decoderHeads: number(json, ["decoder_attention_heads"]),
    encoderFfn: number(json, ["encoder_ffn_dim"]),
    decoderFfn: number(json, ["decoder_ffn_dim"]),
    positions: number(json, ["max_position_embeddings"]),
    bos: number(json, ["bos_token_id"], 0),
    pad: number(json, ["pad_token_id"], 1),
    eos: (Array.isArray(eos) ? eos : [eos]) as number[],
    decoderStart: number(json, ["decoder_start_token_id"], 2),
  };
}

/** text_config's settings come before generation_config's, as in the reference (the language model generates, not the wrapper). */
function parseGeneration(text: Json, generation: Json): GenerationConfig {
  const pick = <T>(key: string, fallback: T): T => (text[key] ?? generation[key] ?? fallback) as T;
  return {
    numBeams: pick("num_beams", 3),
    earlyStopping: pick<EarlyStopping>("early_stopping", true),
    lengthPenalty: pick("length_penalty", 1),
    noRepeatNgramSize: pick("no_repeat_ngram_size", 3),
    forcedBos: pick<number | undefined>("forced_bos_token_id", 0),
    forcedEos: pick<number | undefined>("forced_eos_token_id", 2),
  };
}

function parsePreprocess(json: Json): PreprocessConfig {
  const size = json.size as Json | number | undefined;
  const height = typeof size === "number" ? size : size?.height;
  const width = typeof size === "number" ? size : size?.width;
  if (typeof height !== "number" || height !== width)
    throw invalid("preprocessor_config.json: size must give one square side");
  if (json.do_center_crop === true) throw invalid("preprocessor_config.json: do_center_crop is not supported");
  if (json.resample !== undefined && json.resample !== 3)
    throw invalid("preprocessor_config.json: resample must be 3 (bicubic)");
  return {
    size: height,
    mean: numbers(json, ["image_mean"], 3),
    std: numbers(json, ["image_std"], 3),
    rescale: number(json, ["rescale_factor"], 1 / 255),
  };
}

function object(json: Json, key: string): Json {
  const value = json[key];
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid(`${key} is missing`);
  return value as Json;
}

function number(json: Json, keys: readonly string[], fallback?: number): number {
  for (const key of keys) if (typeof json[key] === "number") return json[key];
  if (fallback !== undefined) return fallback;
  throw invalid(`${keys.join(" or ")} is missing`);
}

function numbers(json: Json, keys: readonly string[], length?: number): number[] {
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

function at(list: readonly number[], i: number): number {
  return list[i] as number;
}

function invalid(what: string): ModelError {
  return new ModelError("checkpoint_config_invalid", `The checkpoint's configuration cannot be used: ${what}.`);
}
