import { preparePicture } from "@florence/model";
import { serveWorker, transferring } from "@florence/service/worker";

/** What a picture worker starts with. */
export interface PictureWorkerData {
  /** Side of the square input, in pixels. */
  readonly size: number;
  /** Largest width times height that is decoded. */
  readonly pixelsMax: number;
}

export type PictureWorkerMethods = ReturnType<typeof start>["methods"];

/** Decodes pictures on sharp's own threads, hashes and resizes them on this one. */
function start({ size, pixelsMax }: PictureWorkerData) {
  return {
    methods: {
      /** Throws a ModelError with one of the codes of a picture that cannot be used. */
      prepare: async ({ bytes, ignoreOrientation }: { bytes: Uint8Array; ignoreOrientation: boolean }) => {
        const began = performance.now();
        const { width, height, sha256, ...picture } = await preparePicture(bytes, {
          autoOrient: !ignoreOrientation,
          pixelsMax,
          size,
        });
        // A copy, because sharp's memory, which a picture of the right size still is, cannot move between threads.
        const pixels = new Uint8Array(picture.pixels);
        const preprocessMs = performance.now() - began;
        return transferring({ width, height, sha256, pixels, preprocessMs }, [pixels.buffer]);
      },
    },
  };
}

await serveWorker(start);
