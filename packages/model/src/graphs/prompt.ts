import type { ModelConfig } from "../checkpoint/config.ts";
import { embeddingName } from "../checkpoint/names.ts";
import { Graph, type Value } from "./graph.ts";
import { Layers, type WeightSource } from "./layers.ts";

const encoder = "model.language_model.encoder";

/** Names of a decoder layer's cross-attention tensors, shared by the prompt graph's outputs and the decode graph's inputs. */
export const crossNames = (layer: number) => ({ key: `cross_key_${layer}`, value: `cross_value_${layer}` });

/**
 * The prompt graph: the text encoder over [image tokens, prompt], then every decoder layer's cross-attention keys and values.
 * Prompts of different length are padded on the right and masked; several may share one image.
 * In: `features` float32 [I, image_tokens, hidden]; `image_index` int32 [P], each prompt's row of features; `ids` int32 [P, L], padded
 * with any valid id; `lengths` int32 [P], prompt tokens without padding.
 * Out: for each decoder layer `cross_key_l`, `cross_value_l` float32 [P, heads, S, head_dim], S = image_tokens + L.
 */
export function buildPromptGraph(config: ModelConfig, weights: WeightSource): Uint8Array<ArrayBuffer> {
  const graph = new Graph("prompt");
  const layers = new Layers(graph, weights);
  const { text, imageTokens } = config;
  const d = text.hidden;
  const features = graph.input("features", "float32", ["I", imageTokens, d]);
  const imageIndex = graph.input("image_index", "int32", ["P"]);
  const ids = graph.input("ids", "int32", ["P", "L"]);
  const lengths = graph.cast(graph.input("lengths", "int32", ["P"]), "int64");

  const image = graph.op("Gather", [features, imageIndex], { axis: 0 }); // [P, T, d]
  const prompt = layers.lookUp(embeddingName, ids); // [P, L, d]
  const merged = graph.op("Concat", [image, prompt], { axis: 1 }); // [P, S, d]
  const shape = graph.op("Shape", [merged]);
  const total = graph.op("Slice", [shape, graph.int64s([1]), graph.int64s([2])]); // [S]
  // Position i reads row i + 2 of the table: BART's offset.
  const table = layers.weight(`${encoder}.embed_positions.weight`);
  const positions = graph.op("Slice", [
    table,
    graph.int64s([2]),
    layers.add(total, graph.int64s([2])),
    graph.int64s([0]),
  ]); // [S, d]
  const columns = graph.op("Range", [graph.int64(0), graph.op("Squeeze", [total]), graph.int64(1)]); // [S]
  const used = graph.op("Unsqueeze", [layers.add(lengths, graph.int64s([imageTokens])), graph.int64s([1])]); // [P, 1]
  const mask = graph.cast(graph.op("Less", [columns, used]), "int32"); // [P, S], 1 = attended to

  let h = layers.reshape(layers.layerNorm(layers.add(merged, positions), `${encoder}.layernorm_embedding`), [-1, d]);
  const back = graph.op("Concat", [graph.int64s([-1]), total, graph.int64s([d])], { axis: 0 });
  const unflatten = (x: Value) => graph.op("Reshape", [x, back]); // [P * S, d] -> [P, S, d]
  for (let l = 0; l < text.encoderLayers; l++) {
    const layer = `${encoder}.layers.${l}`;
    const [q, k, v] = ["q", "k", "v"].map((part) => unflatten(layers.linear(h, `${layer}.self_attn.${part}_proj`))) as [
      Value,
      Value,
      Value,
    ];
    const attended = layers.reshape(layers.attention(q, k, v, text.encoderHeads, mask), [-1, d]);
    h = layers.addNorm(layers.linear(attended, `${layer}.self_attn.out_proj`), h, `${layer}.self_attn_layer_norm`).norm;
    h = layers.addNorm(layers.feedForward(h, `${layer}.fc1`, `${layer}.fc2`), h, `${layer}.final_layer_norm`).norm;
  }
  const heads = text.decoderHeads;
  const dim = d / heads;
  const split = graph.op("Concat", [graph.int64s([-1]), total, graph.int64s([heads, dim])], { axis: 0 });
  for (let l = 0; l < text.decoderLayers; l++) {
    const attention = `model.language_model.decoder.layers.${l}.encoder_attn`;
    for (const [part, name] of [
      ["k", crossNames(l).key],
      ["v", crossNames(l).value],
    ] as const) {
      const flat = layers.linear(h, `${attention}.${part}_proj`);
      const out = graph.directOutput(name, "float32", ["P", heads, "S", dim]);
      graph.namedOps("Transpose", [graph.op("Reshape", [flat, split])], [out], { perm: [0, 2, 1, 3] });
    }
  }
  return graph.finish();
}
