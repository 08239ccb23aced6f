import type { ModelConfig } from "../checkpoint/config.ts";
import { projectionName } from "../checkpoint/names.ts";
import { Graph, type Value } from "./graph.ts";
import { Layers, type WeightSource } from "./layers.ts";

const tower = "model.vision_tower";
const projector = "model.multi_modal_projector";

/**
 * The vision graph: DaViT, position embeddings and projection.
 * In: `pixels` uint8 [B, size, size, 3]. Out: `features` float32 [B, image_tokens, hidden].
 */
export function buildVisionGraph(config: ModelConfig, weights: WeightSource): Uint8Array<ArrayBuffer> {
  const graph = new Graph("vision");
  const layers = new Layers(graph, weights);
  const { size } = config.preprocess;
  const pixels = graph.input("pixels", "uint8", ["B", size, size, 3]);
  let x = normalise(layers, config, pixels); // [B, 3, size, size]
  for (const stage of config.vision.channels.keys()) x = visionStage(layers, config, x, stage);
  const features = project(layers, config, x);
  graph.output("features", features, "float32", ["B", config.imageTokens, config.text.hidden]);
  return graph.finish();
}

/** (pixel * rescale - mean) / std as one multiply and one add. */
function normalise(layers: Layers, config: ModelConfig, pixels: Value): Value {
  const { graph } = layers;
  const { mean, std, rescale } = config.preprocess;
  const scale = std.map((s) => rescale / s);
  const shift = std.map((s, c) => -(mean[c] as number) / s);
  const nchw = layers.transpose(graph.cast(pixels, "float32"), [0, 3, 1, 2]);
  return layers.add(graph.op("Mul", [nchw, graph.floats(scale, [3, 1, 1])]), graph.floats(shift, [3, 1, 1]));
}

/** Convolutional embedding, then pairs of a spatial and a channel block. Image [B, 3, H, W] or tokens [rows, C'] -> [rows, C], rows = B * N */
function visionStage(layers: Layers, config: ModelConfig, input: Value, stage: number): Value {
  const { vision, maps } = config;
  const channels = vision.channels[stage] as number;
  const side = maps[stage] as number;
  const conv = `${tower}.convs.${stage}`;
  const prenorm = vision.patchPrenorm[stage] as boolean;
  let x = input;
  if (stage > 0) {
    if (prenorm) x = layers.layerNorm(x, `${conv}.norm`);
    x = tokensToMap(layers, x, vision.channels[stage - 1] as number, maps[stage - 1] as number);
  }
  const pad = vision.patchPadding[stage] as number;
  const stride = vision.patchStride[stage] as number;
  x = layers.graph.op("Conv", [x, layers.weight(`${conv}.conv.weight`), layers.weight(`${conv}.conv.bias`)], {
    pads: [pad, pad, pad, pad],
    strides: [stride, stride],
  });
  x = mapToTokens(layers, x, channels);
  if (!prenorm) x = layers.layerNorm(x, `${conv}.norm`);
  for (let b = 0; b < (vision.depths[stage] as number); b++) {
    const block = `${tower}.blocks.${stage}.${b}`;
    const spatial = { block: `${block}.spatial_block`, channels, side };
    x = halfBlock(layers, x, spatial, (h) =>
      windowAttention(
        layers,
        h,
        `${spatial.block}.window_attn`,
        channels,
        vision.heads[stage] as number,
        side,
        vision.windowSize,
      ),
    );
    const channel = { block: `${block}.channel_block`, channels, side };
    x = halfBlock(layers, x, channel, (h) =>
      channelAttention(
        layers,
        h,
        `${channel.block}.channel_attn`,
        channels,
        vision.groups[stage] as number,
        side * side,
      ),
    );
  }
  return x;
}

/** x + dwconv(x), attention, x + dwconv(x), feed-forward; each with its residual. [rows, C] -> [rows, C] */
function halfBlock(
  layers: Layers,
  input: Value,
  at: { block: string; channels: number; side: number },
  attention: (h: Value) => Value,
): Value {
  const { block, channels, side } = at;
  const first = layers.addNorm(depthwise(layers, input, `${block}.conv1`, channels, side), input, `${block}.norm1`);
  const x = layers.add(first.sum, attention(first.norm));
  const second = layers.addNorm(depthwise(layers, x, `${block}.conv2`, channels, side), x, `${block}.norm2`);
  return layers.add(second.sum, layers.feedForward(second.norm, `${block}.ffn.fc1`, `${block}.ffn.fc2`));
}

/** 3x3 convolution of each channel by itself. [rows, C] -> [rows, C] */
function depthwise(layers: Layers, x: Value, name: string, channels: number, side: number): Value {
  const map = tokensToMap(layers, x, channels, side);
  const out = layers.graph.op("Conv", [map, layers.weight(`${name}.weight`), layers.weight(`${name}.bias`)], {
    group: channels,
    pads: [1, 1, 1, 1],
  });
  return mapToTokens(layers, out, channels);
}

/**
 * Attention inside windows of window x window places. The map is padded right and below with zeros after the norm, and the padding
 * takes part (its keys and values are the projection's bias): there is no mask and no shift. [rows, C] -> [rows, C]
 */
function windowAttention(
  layers: Layers,
  x: Value,
  name: string,
  channels: number,
  heads: number,
  side: number,
  window: number,
): Value {
  const { graph } = layers;
  const across = Math.ceil(side / window);
  const padded = across * window;
  let map = layers.reshape(x, [-1, side, side, channels]);
  if (padded > side) map = graph.op("Pad", [map, graph.int64s([0, 0, 0, 0, 0, padded - side, padded - side, 0])]);
  const windows = layers.transpose(
    layers.reshape(map, [-1, across, window, across, window, channels]),
    [0, 1, 3, 2, 4, 5],
  );
  const rows = layers.reshape(windows, [-1, channels]);
  const [q, k, v] = [0, 1, 2].map((third) =>
    layers.reshape(layers.linearThird(rows, `${name}.qkv`, third, channels), [-1, window * window, channels]),
  ) as [Value, Value, Value];
  const attended = layers.reshape(layers.attention(q, k, v, heads), [-1, channels]);
  const projected = layers.reshape(layers.linear(attended, `${name}.proj`), [
    -1,
    across,
    across,
    window,
    window,
    channels,
  ]);
  let out = layers.reshape(layers.transpose(projected, [0, 1, 3, 2, 4, 5]), [-1, padded, padded, channels]);
  if (padded > side)
    out = graph.op("Slice", [out, graph.int64s([0, 0]), graph.int64s([side, side]), graph.int64s([1, 2])]);
  return layers.reshape(out, [-1, channels]);
}

/** Attention between the channels of a group, summed over all places, scaled by places^-0.5. [rows, C] -> [rows, C] */
function channelAttention(
  layers: Layers,
  x: Value,
  name: string,
  channels: number,
  groups: number,
  tokens: number,
): Value {
  const { graph } = layers;
  const width = channels / groups;
  const [q, k, v] = [0, 1, 2].map((third) => {
    const part = layers.linearThird(x, `${name}.qkv`, third, channels);
    return layers.transpose(layers.reshape(part, [-1, tokens, groups, width]), [0, 2, 1, 3]); // [B, g, N, w]
  }) as [Value, Value, Value];
  const scale = { alpha: { float: tokens ** -0.5 } };
  const scores = graph.op("FusedMatMul", [q, k], { transA: 1, ...scale }, { domain: "com.microsoft" }); // [B, g, w, w]
  const attention = graph.op("Softmax", [scores], { axis: -1 });
  const mixed = graph.op("FusedMatMul", [v, attention], { transB: 1 }, { domain: "com.microsoft" }); // [B, g, N, w]
  const joined = layers.reshape(layers.transpose(mixed, [0, 2, 1, 3]), [-1, channels]);
  return layers.linear(joined, `${name}.proj`);
}

/** Position and temporal embeddings, the pooled token in front, projection and norm. [rows, D] -> [B, 1 + N, hidden] */
function project(layers: Layers, config: ModelConfig, input: Value): Value {
  const { graph } = layers;
  const width = config.vision.channels.at(-1) as number;
  const side = config.maps.at(-1) as number;
  const table = (axis: "row" | "column") => {
    const rows = layers.rows(`${projector}.image_position_embed.${axis}_embeddings.weight`, 0, side);
    const half = axis === "column" ? width - width / 2 : width / 2;
    const placed = layers.reshape(rows, axis === "column" ? [1, side, half] : [side, 1, half]);
    return graph.op("Expand", [placed, graph.int64s([side, side, half])]);
  };
  // The column (x) half stands first; a single image is frame 0 of the temporal table.
  const position = layers.reshape(graph.op("Concat", [table("column"), table("row")], { axis: -1 }), [
    1,
    side * side,
    width,
  ]);
  const frame = layers.rows(`${projector}.visual_temporal_embed.pos_idx_to_embed`, 0, 1);
  const x = layers.add(layers.add(layers.reshape(input, [-1, side * side, width]), position), frame);
  // The mean as a product of a single row, which adds in one order: a reduction adds in another for one image than for several.
  const share = graph.floats(Array(side * side).fill(1 / (side * side)), [1, side * side]);
  const pooled = graph.op("MatMul", [share, x]); // [B, 1, D]
  const tokens = layers.reshape(graph.op("Concat", [pooled, x], { axis: 1 }), [-1, width]);
  const transB = layers.weights.projectionTransposed ? 0 : 1;
  const projected = graph.op("Gemm", [tokens, layers.weight(projectionName)], { transB });
  const normed = layers.layerNorm(projected, `${projector}.image_proj_norm`);
  return layers.reshape(normed, [-1, config.imageTokens, config.text.hidden]);
}

/** [rows, C] -> [B, C, H, W] */
function tokensToMap(layers: Layers, x: Value, channels: number, side: number): Value {
  const tokens = layers.reshape(x, [-1, side * side, channels]);
  return layers.reshape(layers.transpose(tokens, [0, 2, 1]), [-1, channels, side, side]);
}

/** [B, C, H, W] -> [rows, C] */
function mapToTokens(layers: Layers, x: Value, channels: number): Value {
  return layers.reshape(layers.transpose(x, [0, 2, 3, 1]), [-1, channels]);
}
