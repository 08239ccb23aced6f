import { ProtoWriter } from "./proto-writer.ts";

/** A value inside a graph: the name of a node's output, an input or an initializer. */
export type Value = string & { readonly value: unique symbol };

export type ElementType = "float32" | "float16" | "uint8" | "int8" | "int32" | "int64" | "bool";

// TensorProto.DataType of onnx.proto.
const elementTypes: Record<ElementType, number> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
};

export type Attribute = number | bigint | string | readonly number[] | { readonly float: number };

/** Bytes outside the graph file: `length` bytes at `offset` of a file in the same folder. */
export interface External {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
}

export interface NodeOptions {
  readonly domain?: "com.microsoft";
  /** How many outputs; 1 unless said. */
  readonly outputs?: number;
}

/** A symbolic dimension is a name, a fixed one a number. */
export type Dims = readonly (number | string)[];

const irVersion = 10;
const opset = 21;

/**
 * Builds one ONNX graph, node by node, and writes it as a ModelProto. Weights are named initializers that point into external files,
 * so a graph is some hundred kilobytes whatever the model's size. Field numbers: onnx.proto3 of onnx 1.17.
 */
export class Graph {
  readonly name: string;
  #nodes: Uint8Array[] = [];
  #initializers: Uint8Array[] = [];
  #inputs: Uint8Array[] = [];
  #outputs: Uint8Array[] = [];
  #constants = new Map<string, Value>();
  #externals = new Set<string>();
  #count = 0;

  constructor(name: string) {
    this.name = name;
  }

  input(name: string, type: ElementType, dims: Dims): Value {
    this.#inputs.push(valueInfo(name, type, dims));
    return name as Value;
  }

  output(name: string, value: Value, type: ElementType, dims: Dims): void {
    this.#node("Identity", [value], [name], {}, undefined);
    this.#outputs.push(valueInfo(name, type, dims));
  }

  /** Makes a node's own output a graph output under that name: no copy between them, which in-place outputs need. */
  directOutput(name: string, type: ElementType, dims: Dims): Value {
    this.#outputs.push(valueInfo(name, type, dims));
    return name as Value;
  }

  /** A node with one output. */
  op(
    type: string,
    inputs: readonly (Value | undefined)[],
    attributes: Record<string, Attribute> = {},
    options: NodeOptions = {},
  ): Value {
    return this.ops(type, inputs, attributes, options)[0] as Value;
  }

  /** A node with several outputs. */
  ops(
    type: string,
    inputs: readonly (Value | undefined)[],
    attributes: Record<string, Attribute> = {},
    options: NodeOptions = {},
  ): Value[] {
    const outputs = Array.from({ length: options.outputs ?? 1 }, () => this.#fresh(type));
    this.#node(type, inputs, outputs, attributes, options.domain);
    return outputs;
  }

  /** A node whose outputs are named by the caller; "" leaves one out. */
  namedOps(
    type: string,
    inputs: readonly (Value | undefined)[],
    outputs: readonly string[],
    attributes: Record<string, Attribute>,
    domain?: "com.microsoft",
  ): void {
    this.#node(type, inputs, outputs, attributes, domain);
  }

  /** The same numbers in another type. */
  cast(value: Value, type: ElementType): Value {
    return this.op("Cast", [value], { to: elementTypes[type] });
  }

  int64s(values: readonly number[]): Value {
    return this.#constant("int64", [values.length], new Uint8Array(BigInt64Array.from(values, BigInt).buffer));
  }

  int64(value: number): Value {
    return this.#constant("int64", [], new Uint8Array(BigInt64Array.of(BigInt(value)).buffer));
  }

  float(value: number): Value {
    return this.#constant("float32", [], new Uint8Array(Float32Array.of(value).buffer));
  }

  floats(values: ArrayLike<number>, dims: readonly number[] = [values.length]): Value {
    return this.#constant("float32", dims, new Uint8Array(Float32Array.from(values).buffer));
  }

  /** An initializer whose bytes stay in an external file. */
  external(name: string, type: ElementType, dims: readonly number[], where: External): Value {
    if (this.#externals.has(name)) return name as Value;
    this.#externals.add(name);
    const tensor = tensorHead(name, type, dims);
    for (const [key, value] of Object.entries({ location: where.file, offset: where.offset, length: where.length })) {
      tensor.message(13, (entry) => entry.string(1, key).string(2, String(value)));
    }
    this.#initializers.push(tensor.varint(14, 1).finish());
    return name as Value;
  }

  /** The ModelProto's bytes. */
  finish(): Uint8Array<ArrayBuffer> {
    return new ProtoWriter()
      .varint(1, irVersion)
      .string(2, "florence")
      .message(7, (graph) => {
        for (const node of this.#nodes) graph.bytes(1, node);
        graph.string(2, this.name);
        for (const initializer of this.#initializers) graph.bytes(5, initializer);
        for (const input of this.#inputs) graph.bytes(11, input);
        for (const output of this.#outputs) graph.bytes(12, output);
      })
      .message(8, (set) => set.string(1, "").varint(2, opset))
      .message(8, (set) => set.string(1, "com.microsoft").varint(2, 1))
      .finish();
  }

  #constant(type: ElementType, dims: readonly number[], bytes: Uint8Array): Value {
    const key = `${type}[${dims}]${Buffer.from(bytes).toString("base64")}`;
    const known = this.#constants.get(key);
    if (known) return known;
    const name = `constant_${this.#constants.size}` as Value;
    this.#initializers.push(tensorHead(name, type, dims).bytes(9, bytes).finish());
    this.#constants.set(key, name);
    return name;
  }

  #fresh(type: string): Value {
    return `${type}_${this.#count++}` as Value;
  }

  #node(
    type: string,
    inputs: readonly (Value | undefined)[],
    outputs: readonly string[],
    attributes: Record<string, Attribute>,
    domain: string | undefined,
  ): void {
    const node = new ProtoWriter();
    for (const input of inputs) node.string(1, input ?? "");
    for (const output of outputs) node.string(2, output);
    node.string(3, `${type}_${this.#count++}`).string(4, type);
    for (const [name, value] of Object.entries(attributes))
      node.message(5, (inner) => writeAttribute(inner, name, value));
    if (domain) node.string(7, domain);
    this.#nodes.push(node.finish());
  }
}

function tensorHead(name: string, type: ElementType, dims: readonly number[]): ProtoWriter {
  const tensor = new ProtoWriter();
  for (const dim of dims) tensor.varint(1, dim);
  return tensor.varint(2, elementTypes[type]).string(8, name);
}

function valueInfo(name: string, type: ElementType, dims: Dims): Uint8Array {
  return new ProtoWriter()
    .string(1, name)
    .message(2, (typeProto) =>
      typeProto.message(1, (tensorType) =>
        tensorType.varint(1, elementTypes[type]).message(2, (shape) => {
          for (const dim of dims)
            shape.message(1, (d) => (typeof dim === "number" ? d.varint(1, dim) : d.string(2, dim)));
        }),
      ),
    )
    .finish();
}

/** AttributeProto: whole numbers are INT, lists INTS, { float } FLOAT, text STRING. */
function writeAttribute(out: ProtoWriter, name: string, value: Attribute): void {
  out.string(1, name);
  if (typeof value === "string") out.string(4, value).varint(20, 3);
  else if (typeof value === "number" || typeof value === "bigint") out.varint(3, value).varint(20, 2);
  else if ("float" in value) out.float(2, value.float).varint(20, 1);
  else {
    for (const n of value) out.varint(8, n);
    out.varint(20, 7);
  }
}
