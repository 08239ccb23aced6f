import type { BuiltModel } from "@florence/model";
import { VisionModel } from "@florence/model/onnx";
import { serveWorker, transferring } from "@florence/service/worker";

/** What a vision worker starts with. */
export interface VisionWorkerData {
  readonly model: BuiltModel;
  /** Cores that one run may use. */
  readonly threads: number;
}

export type VisionWorkerMethods = Awaited<ReturnType<typeof start>>["methods"];

/** The vision graph, in a thread of its own: a run blocks the thread it is on. */
async function start({ model: { folder, manifest }, threads }: VisionWorkerData) {
  const vision = await VisionModel.load(folder, manifest, threads);
  const pictureBytes = manifest.config.preprocess.size ** 2 * 3;
  const numbers = manifest.config.imageTokens * manifest.config.text.hidden;
  // A graph that cannot run is found now, and the first caller does not pay for the first run's allocations.
  await vision.encode(new Uint8Array(pictureBytes), 1);
  return {
    methods: {
      /** pictures: [size, size, 3] each -> features: [image_tokens, hidden] each, and the run's milliseconds. */
      encode: async (pictures: readonly Uint8Array[]) => {
        const pixels = new Uint8Array(pictures.length * pictureBytes); // [B, size, size, 3]
        for (const [index, picture] of pictures.entries()) pixels.set(picture, index * pictureBytes);
        const began = performance.now();
        const all = await vision.encode(pixels, pictures.length); // [B, image_tokens, hidden]
        const encodeMs = performance.now() - began;
        const features = pictures.map(
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
