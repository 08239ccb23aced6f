import type { External, Graph, Value } from "./graph.ts";

/** A tensor as it is: row-major in an external file. float16 is widened when the graph is loaded. */
export interface PlainWeight {
  readonly dims: readonly number[];
  readonly type: "float32" | "float16";
  readonly where: External;
}

/** A quantised weight of x @ W^T: int8 [K, N] with a scale a column, or blocks of 4 or 8 bits [N, blocks, bytes] with a scale a block. */
export type LinearWeight =
  | {
      readonly kind: "columns";
      readonly outputs: number;
      readonly inputs: number;
      readonly data: External;
      readonly scales: External;
    }
  | {
      readonly kind: "blocks";
      readonly bits: 4 | 8;
      readonly blockSize: number;
      readonly outputs: number;
      readonly inputs: number;
      readonly data: External;
      readonly scales: External;
    };

/** Where the weights of a graph come from, by native name. */
export interface WeightSource {
  /** Throws when there is no such plain tensor. */
  get(name: string): PlainWeight;
  has(name: string): boolean;
  /** A linear's quantised weight, or one part of a fused one; undefined where it is plain. */
  quantized(name: string, part?: number): LinearWeight | undefined;
  /** The image projection is [in, out] instead of [out, in]. */
  readonly projectionTransposed: boolean;
}

const layerNormEpsilon = 1e-5; // PyTorch's default; the reference sets no other anywhere
const bytesOf = { float32: 4, float16: 2 } as const;

/** The layers that Florence-2 is made of, written into one graph. Activations are [rows, channels] unless said. */
export class Layers {
  readonly graph: Graph;
  readonly weights: WeightSource;
  readonly #quantizedInputs = new Map<Value, Value[]>();
  readonly #widenedValues = new Map<Value, Value>();

  constructor(graph: Graph, weights: WeightSource) {
    this.graph = graph;
    this.weights = weights;
  }

  weight(name: string): Value {
    const { dims, type, where } = this.weights.get(name);
    return this.#widened(this.graph.external(name, type, dims, where), type);
  }

  /** Rows of a table by index, looked up before they are widened. `table`: [rows, C] -> [...index, C] */
  lookUp(table: string, index: Value): Value {
    const { dims, type, where } = this.weights.get(table);
    return this.#widened(
      this.graph.op("Gather", [this.graph.external(table, type, dims, where), index], { axis: 0 }),
      type,
    );
  }

  /** Rows [first, first + count) of a weight, as a view of the same bytes. */
  rows(name: string, first: number, count: number): Value {
    const { dims, type, where } = this.weights.get(name);
    const row = dims.slice(1).reduce((n, d) => n * d, bytesOf[type]);
    const view = { file: where.file, offset: where.offset + first * row, length: count * row };
    return this.#widened(
      this.graph.external(`${name}[${first}:${first + count}]`, type, [count, ...dims.slice(1)], view),
      type,
    );
  }

  /** x @ W^T + b; W is stored [out, in]. [rows, in] -> [rows, out] */
  linear(x: Value, name: string): Value {
    const bias = this.weight(`${name}.bias`);
    const quantized = this.weights.quantized(`${name}.weight`);
    if (quantized) return this.#quantizedLinear(x, `${name}.weight`, quantized, bias);
    return this.graph.op("Gemm", [x, this.weight(`${name}.weight`), bias], { transB: 1 });
  }

  /** One third of a fused projection (0 = query, 1 = key, 2 = value). [rows, C] -> [rows, C] */
  linearThird(x: Value, name: string, third: number, channels: number): Value {
    const bias = this.rows(`${name}.bias`, third * channels, channels);
    const quantized = this.weights.quantized(`${name}.weight`, third);
    if (quantized) return this.#quantizedLinear(x, `${name}.weight#${third}`, quantized, bias);
    return this.graph.op("Gemm", [x, this.rows(`${name}.weight`, third * channels, channels), bias], { transB: 1 });
  }

  /** x @ W^T by a matrix without a bias of its own. [rows, in] -> [rows, out] */
  product(x: Value, name: string, bias?: Value): Value {
    const quantized = this.weights.quantized(name);
    if (quantized) return this.#quantizedLinear(x, name, quantized, bias);
    return this.graph.op("Gemm", bias ? [x, this.weight(name), bias] : [x, this.weight(name)], { transB: 1 });
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

  #quantizedLinear(x: Value, name: string, weight: LinearWeight, bias: Value | undefined): Value {
    const { graph } = this;
    const { inputs, outputs } = weight;
    const contrib = { domain: "com.microsoft" } as const;
    if (weight.kind === "columns") {
      const data = graph.external(`${name}:int8`, "int8", [inputs, outputs], weight.data);
      const scales = graph.external(`${name}:scales`, "float32", [outputs], weight.scales);
      const [quantized, scale, zero] = this.#quantizedInput(x);
      return graph.op("MatMulIntegerToFloat", [quantized, data, scale, scales, zero, undefined, bias], {}, contrib);
    }
    const { bits, blockSize } = weight;
    const blocks = Math.ceil(inputs / blockSize);
    const data = graph.external(`${name}:int${bits}`, "uint8", [outputs, blocks, (blockSize * bits) / 8], weight.data);
    const scales = graph.external(`${name}:scales`, "float32", [outputs * blocks], weight.scales);
    // Level 4: activations are quantised to int8 too, row by row and block by block.
    const attributes = { K: inputs, N: outputs, bits, block_size: blockSize, accuracy_level: 4 };
    return graph.op("MatMulNBits", [x, data, scales, undefined, undefined, bias], attributes, contrib);
  }

  /** An activation as uint8 with its scale and zero point; several linears of one input share it. */
  #quantizedInput(x: Value): Value[] {
    let known = this.#quantizedInputs.get(x);
    if (!known) {
      known = this.graph.ops("DynamicQuantizeLinear", [x], {}, { outputs: 3 });
      this.#quantizedInputs.set(x, known);
    }
    return known;
  }

  #widened(value: Value, type: "float32" | "float16"): Value {
    if (type === "float32") return value;
    let known = this.#widenedValues.get(value);
    if (!known) {
      known = this.graph.cast(value, "float32");
      this.#widenedValues.set(value, known);
    }
    return known;
  }
}
