/** What distinguishes the published Florence-2 sizes: everything else follows. */
export interface Shape {
  readonly channels: readonly number[];
  readonly depths: readonly number[];
  readonly heads: readonly number[];
  readonly hidden: number;
  readonly layers: number;
  readonly textHeads: number;
  readonly ffn: number;
  readonly positions: number;
}

const base: Shape = {
  channels: [128, 256, 512, 1024],
  depths: [1, 1, 9, 1],
  heads: [4, 8, 16, 32],
  hidden: 768,
  layers: 6,
  textHeads: 12,
  ffn: 3072,
  positions: 1024,
};

/** Large has 4,096 positions today; its first release and large-ft have 1,024. */
export const shapes: Readonly<Record<string, Shape>> = {
  base,
  "base-ft": base,
  large: {
    channels: [256, 512, 1024, 2048],
    depths: [1, 1, 9, 1],
    heads: [8, 16, 32, 64],
    hidden: 1024,
    layers: 12,
    textHeads: 16,
    ffn: 4096,
    positions: 4096,
  },
};

export const imageSize = 768;
export const originalVocabulary = 51289;
export const nativeVocabulary = 51328;

const generation = {
  num_beams: 3,
  early_stopping: true,
  no_repeat_ngram_size: 3,
  forced_bos_token_id: 0,
  forced_eos_token_id: 2,
  decoder_start_token_id: 2,
  bos_token_id: 0,
  pad_token_id: 1,
  eos_token_id: 2,
};

/** config.json of a size in a layout, with the keys that the readers of that layout use. */
export function configJson(shape: Shape, layout: "native" | "original"): Record<string, unknown> {
  const native = layout === "native";
  const vocabulary = native ? nativeVocabulary : originalVocabulary;
  const vision = {
    model_type: native ? "florence_vision" : "davit",
    patch_size: [7, 3, 3, 3],
    patch_stride: [4, 2, 2, 2],
    patch_padding: [3, 1, 1, 1],
    patch_prenorm: [false, true, true, true],
    num_heads: shape.heads,
    num_groups: shape.heads,
    depths: shape.depths,
    window_size: 12,
    projection_dim: shape.hidden,
    ...(native
      ? {
          embed_dim: shape.channels,
          mlp_ratio: 4,
          qkv_bias: true,
          max_position_embeddings: 50,
          max_temporal_embeddings: 100,
        }
      : {
          dim_embed: shape.channels,
          image_pos_embed: { type: "learned_abs_2d", max_pos_embeddings: 50 },
          visual_temporal_embedding: { type: "COSINE", max_temporal_embeddings: 100 },
          image_feature_source: ["spatial_avg_pool", "temporal_avg_pool"],
        }),
  };
  const text = {
    model_type: native ? "bart" : "florence2_language",
    vocab_size: vocabulary,
    d_model: shape.hidden,
    encoder_layers: shape.layers,
    decoder_layers: shape.layers,
    encoder_attention_heads: shape.textHeads,
    decoder_attention_heads: shape.textHeads,
    encoder_ffn_dim: shape.ffn,
    decoder_ffn_dim: shape.ffn,
    max_position_embeddings: shape.positions,
    activation_function: "gelu",
    scale_embedding: false,
    ...generation,
  };
  return {
    model_type: "florence2",
    architectures: ["Florence2ForConditionalGeneration"],
    vision_config: vision,
    text_config: text,
  };
}

export const generationJson = generation;

export function preprocessorJson(): Record<string, unknown> {
  return {
    do_resize: true,
    size: { height: imageSize, width: imageSize },
    resample: 3,
    do_center_crop: false,
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: [0.485, 0.456, 0.406],
    image_std: [0.229, 0.224, 0.225],
    image_seq_length: (imageSize / 32) ** 2 + 1,
  };
}
