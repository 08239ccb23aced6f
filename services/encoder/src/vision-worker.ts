import { type BuiltModel, encodingOf } from "@florence/model";
import { cpu, VisionModel } from "@florence/model/inference";
import { serveWorker, transferring } from "@florence/worker/server";

/** What a vision worker starts with. */
export interface VisionWorkerData {
  readonly model: BuiltModel;
  /** Cores that one run may use. */
  readonly threads: number;
}

export type VisionWorkerMethods = Awaited<ReturnType<typeof start>>["methods"];

/** The vision graph, in a thread of its own: a run blocks the thread it is on. */
async function start({ model: { folder, manifest }, threads }: VisionWorkerData) {
  const vision = await VisionModel.load(folder, manifest, cpu(threads));
  const { pixelBytes, dims } = encodingOf(manifest);
  const numbers = dims[0] * dims[1];
  // A graph that cannot run is found now, and the first caller does not pay for the first run's allocations.
  await vision.encode(new Uint8Array(pixelBytes), 1);
  return {
    methods: {
      /** images: [size, size, 3] each -> features: [image_tokens, hidden] each, and the run's milliseconds. */
      encode: async (images: readonly Uint8Array[]) => {
        const pixels = new Uint8Array(images.length * pixelBytes); // [B, size, size, 3]
        for (const [index, image] of images.entries()) pixels.set(image, index * pixelBytes);
        const began = performance.now();
        const all = await vision.encode(pixels, images.length); // [B, image_tokens, hidden]
        const encodeMs = performance.now() - began;
        const features = images.map(
          (_, index) => new Float32Array(all.subarray(index * numbers, (index + 1) * numbers)),
        );
        return transferring(
          { features, encodeMs },
          features.map(({ buffer }) => buffer),
        );
      },
    },
    dispose: async () => {
      await vision[Symbol.asyncDispose]();
    },
  };
}

await serveWorker(start);
