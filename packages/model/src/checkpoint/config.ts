import { invalid, neutral, number, numbers, object } from "./fields.ts";
import type { Json } from "./files.ts";
import { type GenerationConfig, parseGeneration } from "./generation-config.ts";
import { type PreprocessConfig, parsePreprocess } from "./preprocess-config.ts";

export type { EarlyStopping, GenerationConfig } from "./generation-config.ts";

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

/** The JSON files of a checkpoint that sizes and settings are read from. */
export interface ConfigFiles {
  readonly config: Json;
  /** Absent where there is no generation_config.json. */
  readonly generation?: Json | undefined;
  /** The image processor's settings. */
  readonly preprocessor: Json;
}

/**
 * Reads the sizes and settings of a checkpoint from its JSON files. Sizes have no defaults but those that the reference implementation
 * itself fills in. Special ids come from text_config: the top-level ones are wrong in several checkpoints.
 * Throws checkpoint_config_invalid or checkpoint_unsupported, naming the key.
 */
export function parseConfig(layout: Layout, { config, generation, preprocessor }: ConfigFiles): ModelConfig {
  const vision = parseVision(object(config, "vision_config"));
  const textJson = object(config, "text_config");
  const text = parseText(textJson, layout === "native" ? (generation ?? {}) : {});
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
    throw invalid(
      `images of ${preprocess.size} px, by the image processor's settings or, without any, the model card's, become ${imageTokens} tokens and leave no room for a prompt in ${text.positions} positions`,
    );
  }
  return { vision, text, preprocess, generation: parseGeneration(layout, textJson, generation), maps, imageTokens };
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
  neutral(json, "vision_config", { activation_function: ["gelu"], qkv_bias: [true], in_channels: [3] });
  neutral(position, "image_pos_embed", { type: ["learned_abs_2d"] });
  neutral(temporal, "visual_temporal_embedding", { type: ["COSINE"] });
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

/** `generation` holds ids that come before text_config's own. */
function parseText(json: Json, generation: Json): TextConfig {
  neutral(json, "text_config", {
    activation_function: ["gelu"],
    scale_embedding: [false],
    normalize_before: [false],
    add_final_layer_norm: [false],
    static_position_embeddings: [false],
  });
  const eos = generation.eos_token_id ?? json.eos_token_id ?? 2;
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
    decoderStart: number(generation, ["decoder_start_token_id"], number(json, ["decoder_start_token_id"], 2)),
  };
}

function at(list: readonly number[], i: number): number {
  return list[i] as number;
}
