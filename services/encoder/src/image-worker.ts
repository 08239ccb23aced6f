import { type Colour, prepareImage } from "@florence/model";
import { serveWorker, transferring } from "@florence/worker/server";

/** What an image worker starts with. */
export interface ImageWorkerData {
  /** Side of the square input, in pixels. */
  readonly size: number;
  /** Largest width times height that is decoded. */
  readonly pixelsMax: number;
}

/** How an image file is read. */
export interface ImageReading {
  readonly ignoreOrientation: boolean;
  /** What transparent pixels are seen on. */
  readonly background?: Colour | undefined;
}

export type ImageWorkerMethods = ReturnType<typeof start>["methods"];

/** Decodes images on sharp's own threads, hashes and resizes them on this one. */
function start({ size, pixelsMax }: ImageWorkerData) {
  return {
    methods: {
      /** Throws a ModelError with one of the codes of an image that cannot be used. */
      prepare: async ({ bytes, ignoreOrientation, background }: ImageReading & { bytes: Uint8Array }) => {
        const began = performance.now();
        const { width, height, sha256, warnings, ...image } = await prepareImage(bytes, {
          autoOrient: !ignoreOrientation,
          background,
          pixelsMax,
          size,
        });
        // A copy, because sharp's memory, which an image of the right size still is, cannot move between threads.
        const pixels = new Uint8Array(image.pixels);
        const preprocessMs = performance.now() - began;
        return transferring({ width, height, sha256, warnings, pixels, preprocessMs }, [pixels.buffer]);
      },
    },
  };
}

await serveWorker(start);
