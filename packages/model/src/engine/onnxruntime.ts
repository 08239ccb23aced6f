import "./env.ts"; // First of all: the runtime reads what this sets.
import * as ort from "onnxruntime-node";
import { runtimeIsTold } from "./env.ts";

if (!runtimeIsTold) throw new Error("The thread that starts a worker with models must import @florence/model first.");

export type Tensor = ort.Tensor;
export type Tensors = Record<string, ort.Tensor>;

/** One loaded graph. `run` blocks the calling thread while the model runs: keep sessions in worker threads. */
export interface Session extends AsyncDisposable {
  /** Runs the graph; only the outputs named in `fetches` are returned. A tensor given there is written in place. */
  run(feeds: Tensors, fetches: readonly string[] | Record<string, ort.Tensor | null>): Promise<Tensors>;
}

/** Loads an ONNX file; `threads` is how many cores one run may use. */
export async function openSession(file: string, threads: number): Promise<Session> {
  const session = await ort.InferenceSession.create(file, {
    executionProviders: ["cpu"],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
    // Encoder and decoder share the cores: a pool that spins after its work takes them from the other.
    extra: { session: { "intra_op.allow_spinning": "0" } },
  });
  return {
    run: (feeds, fetches) => session.run(feeds, fetches as ort.InferenceSession.FetchesType) as Promise<Tensors>,
    [Symbol.asyncDispose]: () => session.release(),
  };
}

export const int64Tensor = (values: readonly number[], dims: readonly number[]): ort.Tensor =>
  new ort.Tensor("int64", BigInt64Array.from(values, BigInt), dims);

export const int32Tensor = (values: readonly number[], dims: readonly number[]): ort.Tensor =>
  new ort.Tensor("int32", Int32Array.from(values), dims);

export const float32Tensor = (data: Float32Array, dims: readonly number[]): ort.Tensor =>
  new ort.Tensor("float32", data, dims);

export const uint8Tensor = (data: Uint8Array, dims: readonly number[]): ort.Tensor =>
  new ort.Tensor("uint8", data, dims);
