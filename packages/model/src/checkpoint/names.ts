import type { Layout, ModelConfig } from "./config.ts";

/** A tensor that the graphs read, under its native name, with the shape it must have. */
export interface Expected {
  readonly name: string;
  readonly shape: readonly number[];
}

export const embeddingName = "model.language_model.shared.weight";
export const decoderEmbeddingName = "model.language_model.decoder.embed_tokens.weight";
export const headName = "lm_head.weight";
export const logitsBiasName = "final_logits_bias";
export const projectionName = "model.multi_modal_projector.image_projection.weight";

/** The names under which the one token embedding may be stored, in the order of preference (native names). */
export const embeddingAliases = [
  embeddingName,
  "model.language_model.encoder.embed_tokens.weight",
  decoderEmbeddingName,
  headName,
];

/** Every tensor of a checkpoint but the token embedding and its aliases, whose rows vary with the layout. */
export function expectedTensors(config: ModelConfig): Expected[] {
  return [...visionTensors(config), ...projectorTensors(config), ...textTensors(config)];
}

function affine(name: string, out: number, ...rest: number[]): Expected[] {
  return [
    { name: `${name}.weight`, shape: [out, ...rest] },
    { name: `${name}.bias`, shape: [out] },
  ];
}

function visionTensors({ vision }: ModelConfig): Expected[] {
  const out: Expected[] = [];
  for (const [i, channels] of vision.channels.entries()) {
    const before = i === 0 ? 3 : (vision.channels[i - 1] as number);
    const kernel = vision.patchSize[i] as number;
    const conv = `model.vision_tower.convs.${i}`;
    out.push(...affine(`${conv}.conv`, channels, before, kernel, kernel));
    out.push(...affine(`${conv}.norm`, vision.patchPrenorm[i] ? before : channels));
    for (let b = 0; b < (vision.depths[i] as number); b++) {
      for (const kind of ["spatial", "channel"]) {
        const block = `model.vision_tower.blocks.${i}.${b}.${kind}_block`;
        const attention = `${block}.${kind === "spatial" ? "window" : "channel"}_attn`;
        const hidden = channels * vision.mlpRatio;
        out.push(
          ...affine(`${block}.conv1`, channels, 1, 3, 3),
          ...affine(`${block}.norm1`, channels),
          ...affine(`${attention}.qkv`, 3 * channels, channels),
          ...affine(`${attention}.proj`, channels, channels),
          ...affine(`${block}.conv2`, channels, 1, 3, 3),
          ...affine(`${block}.norm2`, channels),
          ...affine(`${block}.ffn.fc1`, hidden, channels),
          ...affine(`${block}.ffn.fc2`, channels, hidden),
        );
      }
    }
  }
  return out;
}

function projectorTensors({ vision, text }: ModelConfig): Expected[] {
  const last = vision.channels.at(-1) as number;
  const projector = "model.multi_modal_projector";
  return [
    { name: projectionName, shape: [text.hidden, last] },
    ...affine(`${projector}.image_proj_norm`, text.hidden),
    { name: `${projector}.image_position_embed.row_embeddings.weight`, shape: [vision.positions, last / 2] },
    { name: `${projector}.image_position_embed.column_embeddings.weight`, shape: [vision.positions, last - last / 2] },
    { name: `${projector}.visual_temporal_embed.pos_idx_to_embed`, shape: [vision.frames, last] },
  ];
}

function textTensors({ text }: ModelConfig): Expected[] {
  const out: Expected[] = [];
  for (const side of ["encoder", "decoder"] as const) {
    const root = `model.language_model.${side}`;
    const d = text.hidden;
    out.push({ name: `${root}.embed_positions.weight`, shape: [text.positions + 2, d] });
    out.push(...affine(`${root}.layernorm_embedding`, d));
    const ffn = side === "encoder" ? text.encoderFfn : text.decoderFfn;
    for (let l = 0; l < (side === "encoder" ? text.encoderLayers : text.decoderLayers); l++) {
      const layer = `${root}.layers.${l}`;
      for (const attention of side === "encoder" ? ["self_attn"] : ["self_attn", "encoder_attn"]) {
        for (const part of ["q", "k", "v", "out"]) out.push(...affine(`${layer}.${attention}.${part}_proj`, d, d));
        out.push(...affine(`${layer}.${attention}_layer_norm`, d));
      }
      out.push(
        ...affine(`${layer}.fc1`, ffn, d),
        ...affine(`${layer}.fc2`, d, ffn),
        ...affine(`${layer}.final_layer_norm`, d),
      );
    }
  }
  return out;
}

/** Which layout a checkpoint's tensor names follow, or undefined when they are no Florence-2's. */
export function detectLayout(names: ReadonlySet<string> | ReadonlyMap<string, unknown>): Layout | undefined {
  if (names.has("model.vision_tower.convs.0.conv.weight")) return "native";
  if (names.has("vision_tower.convs.0.proj.weight")) return "original";
  return undefined;
}

const originalBlockNames: [RegExp, string][] = [
  [/\.conv1\.fn\.dw\./, ".conv1."],
  [/\.conv2\.fn\.dw\./, ".conv2."],
  [/\.(?:window|channel)_attn\.norm\./, ".norm1."],
  [/\.(window|channel)_attn\.fn\./, ".$1_attn."],
  [/\.ffn\.norm\./, ".norm2."],
  [/\.ffn\.fn\.net\./, ".ffn."],
];

/** The native name of a tensor of Microsoft's layout; the projection is stored there transposed. */
export function nativeName(original: string): string {
  if (original.startsWith("vision_tower.")) {
    let name = original.replace(/^vision_tower\.convs\.(\d+)\.proj\./, "vision_tower.convs.$1.conv.");
    for (const [from, to] of originalBlockNames) name = name.replace(from, to);
    return `model.${name}`;
  }
  if (original === "image_projection") return projectionName;
  if (original.startsWith("image_pos_embed."))
    return `model.multi_modal_projector.${original.replace("image_pos_embed", "image_position_embed")}`;
  if (/^(image_proj_norm|visual_temporal_embed)\./.test(original)) return `model.multi_modal_projector.${original}`;
  if (original === "language_model.lm_head.weight") return headName;
  if (original === "language_model.final_logits_bias") return logitsBiasName;
  return original.replace(/^language_model\.model\./, "model.language_model.");
}
