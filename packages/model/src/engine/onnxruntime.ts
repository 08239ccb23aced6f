import "./env.ts"; // First of all: the runtime reads what this sets.
import * as ort from "onnxruntime-node";
import type { Engine, Tensor, Tensors } from "./engine.ts";
import { runtimeIsTold } from "./env.ts";

if (!runtimeIsTold) throw new Error("The thread that starts a worker with models must import @florence/model first.");

/** ONNX Runtime's kernels for CPUs, through its own binding for Node. */
export const onnxruntimeCpu: Engine = {
  abilities: {
    numbers: ["float32", "int32", "uint8"],
    writesInPlace: true,
    keepsTensors: false,
    blocksThread: true,
  },
  async open(file, threads) {
    const session = await ort.InferenceSession.create(file, {
      executionProviders: ["cpu"],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: "all",
      // Encoder and decoder share the cores: a pool that spins after its work takes them from the other.
      extra: { session: { "intra_op.allow_spinning": "0" } },
    });
    return {
      run: async (inputs, outputs) => {
        // The runtime's own tensors have the fields of ours, and our graphs give only numbers that ours may hold.
        if (isNames(outputs)) return (await session.run(wrapped(inputs), outputs)) as unknown as Tensors;
        // The binding writes into the memory that it was given, and then hands back a copy of it, which is of no use.
        await session.run(wrapped(inputs), wrapped(outputs));
        return outputs;
      },
      [Symbol.asyncDispose]: () => session.release(),
    };
  },
};

function isNames(outputs: readonly string[] | Tensors): outputs is readonly string[] {
  return Array.isArray(outputs);
}

/** The runtime's view of tensors, over the same memory. */
function wrapped(tensors: Tensors): Record<string, ort.Tensor> {
  const out: Record<string, ort.Tensor> = {};
  for (const [name, tensor] of Object.entries(tensors)) out[name] = wrap(tensor);
  return out;
}

function wrap({ type, data, dims }: Tensor): ort.Tensor {
  return new ort.Tensor(type, data as Float32Array, dims);
}
