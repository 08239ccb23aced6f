import type { ModelConfig } from "../checkpoint/config.ts";
import { decoderEmbeddingName, embeddingName, headName, logitsBiasName } from "../checkpoint/names.ts";
import { Graph, type Value } from "./graph.ts";
import { Layers, type WeightSource } from "./layers.ts";
import { crossNames } from "./prompt.ts";

const decoder = "model.language_model.decoder";

/** Names of a decoder layer's self-attention cache. */
export const selfNames = (layer: number) => ({ key: `past_key_${layer}`, value: `past_value_${layer}` });

/** The output that holds a step's own keys and values. */
export const appendedName = "appended";

/**
 * Candidates that the graph returns for each row. The n-gram ban takes away a few and beam search with 5 beams needs 10;
 * when a step needs more, it is run again with `logits` fetched.
 */
export const candidatesPerRow = 16;

/**
 * The decode graph: one step of R sequences (hypotheses) of any age, over P encoded prompts.
 * The K hypotheses of one prompt stand on the query axis of cross-attention, so they read one copy of its keys and values.
 *
 * In: `ids` int32 [R], each row's last token; `positions` int32 [R], its index in its sequence, which is also how many positions of its
 * cache are filled; `group` int32 [P, K], the rows of each prompt, padded with any row; `ungroup` int32 [R], each row's place in the
 * flattened group; `cross_lengths` int32 [P], valid cross positions; past_key_l, past_value_l float32 [R, heads, T, head_dim];
 * cross_key_l, cross_value_l float32 [P, heads, S, head_dim]. What lies past a row's length is masked: any finite values will do.
 * Out: `top_ids` int32 and `top_logits` float32 [R, 16], best first; `log_sum` float32 [R], log of the sum of exp of all logits;
 * `forced_logits` float32 [R, 2], those of the forced first and last token; `logits` float32 [R, V]; `appended` float32
 * [R, layers, 2, hidden], this token's keys and values, which the caller writes into its cache.
 *
 * The cache is an input only. Node's binding copies every output, even one bound to preallocated memory, so a cache that came back as
 * an output (GroupQueryAttention's present) would be copied whole at each step: measured, 2.7 ms for 6 MB.
 */
export function buildDecodeGraph(config: ModelConfig, weights: WeightSource): Uint8Array<ArrayBuffer> {
  const graph = new Graph("decode");
  const layers = new Layers(graph, weights);
  const { text } = config;
  const d = text.hidden;
  const heads = text.decoderHeads;
  const dim = d / heads;
  const ids = graph.input("ids", "int32", ["R"]);
  const positions = graph.cast(graph.input("positions", "int32", ["R"]), "int64");
  const group = graph.input("group", "int32", ["P", "K"]);
  const ungroup = graph.input("ungroup", "int32", ["R"]);
  const crossLengths = graph.cast(graph.input("cross_lengths", "int32", ["P"]), "int64");

  const token = layers.lookUp(weights.has(decoderEmbeddingName) ? decoderEmbeddingName : embeddingName, ids); // [R, d]
  const row = layers.add(positions, graph.int64s([2])); // BART's offset
  const place = layers.lookUp(`${decoder}.embed_positions.weight`, row);
  let h = layers.layerNorm(layers.add(token, place), `${decoder}.layernorm_embedding`); // [R, d]
  // Queries are scaled before they meet the keys: a product with a factor of its own misses the runtime's kernel for single rows.
  const scale = graph.float(dim ** -0.5);
  const appended: Value[] = [];
  let selfMask: Value | undefined;
  let crossMask: Value | undefined;

  for (let l = 0; l < text.decoderLayers; l++) {
    const layer = `${decoder}.layers.${l}`;
    const self = selfNames(l);
    const [unscaled, k, v] = ["q", "k", "v"].map((part) => layers.linear(h, `${layer}.self_attn.${part}_proj`)) as [
      Value,
      Value,
      Value,
    ]; // [R, d]
    const q = graph.op("Mul", [unscaled, scale]);
    appended.push(k, v);
    const cache = ["R", heads, "T", dim];
    const pastKey = graph.input(self.key, "float32", cache);
    const pastValue = graph.input(self.value, "float32", cache);
    selfMask ??= lengthMask(layers, pastKey, positions);
    const attended = selfAttention(layers, { q, k, v, pastKey, pastValue, mask: selfMask }, heads, dim);
    h = layers.addNorm(layers.linear(attended, `${layer}.self_attn.out_proj`), h, `${layer}.self_attn_layer_norm`).norm;

    const cross = crossNames(l);
    const stored = ["P", heads, "S", dim];
    const key = graph.input(cross.key, "float32", stored);
    const value = graph.input(cross.value, "float32", stored);
    crossMask ??= layers.reshape(lengthMask(layers, key, crossLengths), [0, 1, 1, 1, -1]);
    const crossQuery = graph.op("Mul", [layers.linear(h, `${layer}.encoder_attn.q_proj`), scale]);
    const query = graph.op("Gather", [crossQuery, group], { axis: 0 }); // [P, K, d]
    const mixed = crossAttention(layers, { query, key, value, mask: crossMask }, heads, dim);
    const rows = graph.op("Gather", [mixed, ungroup], { axis: 0 }); // [R, d]
    h = layers.addNorm(
      layers.linear(rows, `${layer}.encoder_attn.out_proj`),
      h,
      `${layer}.encoder_attn_layer_norm`,
    ).norm;
    h = layers.addNorm(layers.feedForward(h, `${layer}.fc1`, `${layer}.fc2`), h, `${layer}.final_layer_norm`).norm;
  }
  const stacked = layers.reshape(graph.op("Concat", appended, { axis: 1 }), [-1, text.decoderLayers, 2, d]);
  graph.output(appendedName, stacked, "float32", ["R", text.decoderLayers, 2, d]);
  writeHead(layers, config, h);
  return graph.finish();
}

interface SelfAttention {
  readonly q: Value; // [R, d], as k and v
  readonly k: Value;
  readonly v: Value;
  readonly pastKey: Value; // [R, heads, T, dim], as pastValue
  readonly pastValue: Value;
  readonly mask: Value; // [R, 1, 1, T]
}

/** One query a row over its cache and itself. -> [R, d] */
function selfAttention(layers: Layers, at: SelfAttention, heads: number, dim: number): Value {
  const { graph } = layers;
  const [q, k, v] = [at.q, at.k, at.v].map((x) => layers.reshape(x, [-1, heads, 1, dim])) as [Value, Value, Value];
  const turned = { transB: 1 };
  const past = layers.add(graph.op("FusedMatMul", [q, at.pastKey], turned, { domain: "com.microsoft" }), at.mask); // [R, heads, 1, T]
  const own = graph.op("FusedMatMul", [q, k], turned, { domain: "com.microsoft" }); // [R, heads, 1, 1]
  const attention = graph.op("Softmax", [graph.op("Concat", [own, past], { axis: -1 })], { axis: -1 }); // [R, heads, 1, 1 + T]
  const last = graph.int64s([-1]);
  const one = graph.int64s([1]);
  const ownShare = graph.op("Slice", [attention, graph.int64s([0]), one, last]);
  const pastShare = graph.op("Slice", [attention, one, graph.int64s([Number.MAX_SAFE_INTEGER]), last]);
  const mixed = layers.add(graph.op("Mul", [ownShare, v]), graph.op("MatMul", [pastShare, at.pastValue])); // [R, heads, 1, dim]
  return layers.reshape(mixed, [-1, heads * dim]);
}

interface CrossAttention {
  readonly query: Value; // [P, K, d]
  readonly key: Value; // [P, heads, S, dim], as value
  readonly value: Value;
  readonly mask: Value; // [P, 1, 1, 1, S]
}

/**
 * Every query is multiplied as a row of its own, broadcast over its prompt's keys and values: they are read in place, and the sums run
 * in the same order whatever K and S are, so an answer does not depend on what else is in the batch. -> [P * K, d]
 */
function crossAttention(layers: Layers, at: CrossAttention, heads: number, dim: number): Value {
  const { graph } = layers;
  const query = layers.reshape(
    layers.transpose(graph.op("Reshape", [at.query, graph.int64s([0, 0, heads, dim])]), [0, 2, 1, 3]),
    [0, heads, -1, 1, dim],
  ); // [P, heads, K, 1, dim]
  const key = graph.op("Unsqueeze", [at.key, graph.int64s([2])]); // [P, heads, 1, S, dim]
  const value = graph.op("Unsqueeze", [at.value, graph.int64s([2])]);
  const scores = graph.op("FusedMatMul", [query, key], { transB: 1 }, { domain: "com.microsoft" }); // [P, heads, K, 1, S]
  const attention = graph.op("Softmax", [layers.add(scores, at.mask)], { axis: -1 }); // [P, heads, K, 1, S]
  const mixed = layers.reshape(graph.op("MatMul", [attention, value]), [0, heads, -1, dim]); // [P, heads, K, dim]
  return layers.reshape(layers.transpose(mixed, [0, 2, 1, 3]), [-1, heads * dim]);
}

/** 0 where a position of the cache holds a token, -inf past a row's length. [rows, heads, N, dim] and [rows] -> [rows, 1, 1, N] */
function lengthMask(layers: Layers, cache: Value, lengths: Value): Value {
  const { graph } = layers;
  const size = graph.op("Squeeze", [
    graph.op("Slice", [graph.op("Shape", [cache]), graph.int64s([2]), graph.int64s([3])]),
  ]);
  const columns = graph.op("Range", [graph.int64(0), size, graph.int64(1)]); // [N]
  const used = layers.reshape(lengths, [-1, 1, 1, 1]);
  return graph.op("Where", [graph.op("Less", [columns, used]), graph.float(0), graph.float(Number.NEGATIVE_INFINITY)]);
}

function writeHead(layers: Layers, config: ModelConfig, h: Value): void {
  const { graph, weights } = layers;
  const { forcedBos, forcedEos } = config.generation;
  const vocabulary = weights.get(embeddingName).dims[0] as number;
  const bias = weights.has(logitsBiasName) ? layers.reshape(layers.weight(logitsBiasName), [vocabulary]) : undefined;
  const logits = layers.product(h, weights.has(headName) ? headName : embeddingName, bias); // [R, V]
  const [topLogits, topIds] = graph.ops(
    "TopK",
    [logits, graph.int64s([candidatesPerRow])],
    { axis: -1 },
    { outputs: 2 },
  ) as [Value, Value];
  const forced = graph.int64s([forcedBos ?? config.text.bos, forcedEos ?? (config.text.eos[0] as number)]);
  graph.output("top_ids", graph.cast(topIds, "int32"), "int32", ["R", candidatesPerRow]);
  graph.output("top_logits", topLogits, "float32", ["R", candidatesPerRow]);
  graph.output("log_sum", graph.op("ReduceLogSumExp", [logits, graph.int64s([-1])], { keepdims: 0 }), "float32", ["R"]);
  graph.output("forced_logits", graph.op("Gather", [logits, forced], { axis: 1 }), "float32", ["R", 2]);
  graph.output("logits", logits, "float32", ["R", vocabulary]);
}
