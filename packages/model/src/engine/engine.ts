/** The arrays behind a tensor, by the type of their numbers. Indices are int32: no table here has more rows, and GPUs know no wider ones. */
export interface Numbers {
  readonly float32: Float32Array;
  readonly int32: Int32Array;
  readonly uint8: Uint8Array;
}

export type NumberType = keyof Numbers;

/** A tensor: a shape over numbers that lie elsewhere, row-major. Making one copies nothing. */
export type Tensor = {
  [T in NumberType]: { readonly type: T; readonly dims: readonly number[]; readonly data: Numbers[T] };
}[NumberType];

export type Tensors = Record<string, Tensor>;

/** What an engine can do. `test/engine.test.ts` holds every engine to what it says of itself. */
export interface Abilities {
  /** Types of the numbers that tensors may have. */
  readonly numbers: readonly NumberType[];
  /** Whether an output can be written into memory of the caller's. */
  readonly writesInPlace: boolean;
  /** Whether an output may stay where it was computed and be the input of another run. */
  readonly keepsTensors: boolean;
  /** Whether a run holds up the thread that asked for it, so that it needs a thread of its own. */
  readonly blocksThread: boolean;
}

/** Something that runs ONNX graphs. */
export interface Engine {
  readonly abilities: Abilities;
  /** Loads a graph file and the weights beside it; a run may use `threads` cores. Rejects when the file is no graph that it can run. */
  open(file: string, threads: number): Promise<Session>;
}

/** One loaded graph. */
export interface Session extends AsyncDisposable {
  /**
   * Runs the graph on its inputs, whose memory must not change until the promise settles, and gives the outputs that are named in
   * `outputs`; a tensor given there for an output is written in place. Runs may not overlap. Rejects when an input is missing or of a
   * wrong type or shape.
   */
  run(inputs: Tensors, outputs: readonly string[] | Tensors): Promise<Tensors>;
}

export const float32Tensor = (data: Float32Array, dims: readonly number[]): Tensor => ({ type: "float32", dims, data });

export const int32Tensor = (values: readonly number[], dims: readonly number[]): Tensor => ({
  type: "int32",
  dims,
  data: Int32Array.from(values),
});

export const uint8Tensor = (data: Uint8Array, dims: readonly number[]): Tensor => ({ type: "uint8", dims, data });

/** The numbers of an output, as they lie. Throws a TypeError when there is no such output or its numbers are of another type. */
export function numbersOf<T extends NumberType>(tensors: Tensors, name: string, type: T): Numbers[T] {
  const tensor = tensors[name];
  if (tensor?.type !== type) throw new TypeError(`${name} is ${tensor?.type ?? "missing"}, not ${type}`);
  return tensor.data as Numbers[T];
}
