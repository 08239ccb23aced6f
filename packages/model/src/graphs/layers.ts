import type { External, Graph, Value } from "./graph.ts";

/** Where the weights of a graph come from: shape and bytes of a tensor by its native name. */
export interface WeightSource {
  /** Throws when the checkpoint has no such tensor. */
  get(name: string): { readonly dims: readonly number[]; readonly where: External };
  has(name: string): boolean;
  /** The image projection is [in, out] instead of [out, in]. */
  readonly projectionTransposed: boolean;
}

const layerNormEpsilon = 1e-5; // PyTorch's default; the reference sets no other anywhere
const float32Bytes = 4;

/** The layers that Florence-2 is made of, written into one graph. Activations are [rows, channels] unless said. */
export class Layers {
  readonly graph: Graph;
  readonly weights: WeightSource;

  constructor(graph: Graph, weights: WeightSource) {
    this.graph = graph;
    this.weights = weights;
  }

  weight(name: string): Value {
    const { dims, where } = this.weights.get(name);
    return this.graph.external(name, "float32", dims, where);
  }

  /** Rows [first, first + count) of a weight, as a view of the same bytes. */
  rows(name: string, first: number, count: number): Value {
    const { dims, where } = this.weights.get(name);
    const row = dims.slice(1).reduce((n, d) => n * d, float32Bytes);
    const view = { file: where.file, offset: where.offset + first * row, length: count * row };
    return this.graph.external(`${name}[${first}:${first + count}]`, "float32", [count, ...dims.slice(1)], view);
  }

  /** x @ W^T + b; W is stored [out, in]. [rows, in] -> [rows, out] */
  linear(x: Value, name: string): Value {
    return this.graph.op("Gemm", [x, this.weight(`${name}.weight`), this.weight(`${name}.bias`)], { transB: 1 });
  }

  /** One third of a fused projection (0 = query, 1 = key, 2 = value). [rows, C] -> [rows, C] */
  linearThird(x: Value, name: string, third: number, channels: number): Value {
    const weight = this.rows(`${name}.weight`, third * channels, channels);
    return this.graph.op("Gemm", [x, weight, this.rows(`${name}.bias`, third * channels, channels)], { transB: 1 });
  }

  layerNorm(x: Value, name: string): Value {
    return this.graph.op("LayerNormalization", [x, this.weight(`${name}.weight`), this.weight(`${name}.bias`)], {
      axis: -1,
      epsilon: { float: layerNormEpsilon },
    });
  }

  /**
   * LayerNorm(x + skip), and the sum itself. [rows, C]: with two dimensions the runtime keeps the two nodes apart, which is several times
   * as fast as its fused SkipLayerNormalization.
   */
  addNorm(x: Value, skip: Value, name: string): { norm: Value; sum: Value } {
    const sum = this.add(x, skip);
    return { norm: this.layerNorm(sum, name), sum };
  }

  /** fc2(gelu(fc1(x))), exact GELU. [rows, C] -> [rows, C] */
  feedForward(x: Value, fc1: string, fc2: string): Value {
    return this.linear(this.graph.op("Gelu", [this.linear(x, fc1)]), fc2);
  }

  reshape(x: Value, dims: readonly number[]): Value {
    return this.graph.op("Reshape", [x, this.graph.int64s(dims)]);
  }

  transpose(x: Value, perm: readonly number[]): Value {
    return this.graph.op("Transpose", [x], { perm });
  }

  add(a: Value, b: Value): Value {
    return this.graph.op("Add", [a, b]);
  }

  /** Softmax attention without a mask. q, k, v: [B, N, heads * dim] -> the same. */
  attention(q: Value, k: Value, v: Value, heads: number, keyMask?: Value): Value {
    return this.graph.op(
      "MultiHeadAttention",
      [q, k, v, undefined, keyMask],
      { num_heads: heads },
      { domain: "com.microsoft" },
    );
  }
}
