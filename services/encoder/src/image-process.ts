import { ModelError } from "@florence/model/errors";
import { type Colour, type PreparedImage, prepareImage } from "@florence/model/image";
import { serveProcess } from "@florence/worker/process";

/** What an image process starts with. */
export interface ImageProcessData {
  /** Side of the square input, in pixels. */
  readonly size: number;
  /** Largest width times height that is decoded. */
  readonly pixelsMax: number;
}

/** What goes with a file: how it is read. */
export interface ImageRequest {
  readonly ignoreOrientation: boolean;
  /** What transparent pixels are seen on. */
  readonly background?: Colour | undefined;
}

/** What goes with the pixels. */
export type ImageResult = Omit<PreparedImage, "pixels"> & {
  /** Milliseconds of decoding, hashing and resizing. */
  readonly preprocessMs: number;
};

// A child process of image-pool.ts. It loads nothing but what opens images: no runtime, no model.
serveProcess(
  ({ size, pixelsMax }: ImageProcessData) =>
    async ({ ignoreOrientation, background }: ImageRequest, file) => {
      const began = performance.now();
      const options = { autoOrient: !ignoreOrientation, background, pixelsMax, size };
      const { pixels, ...image } = await prepareImage(file, options).catch((error: unknown) => {
        // The process's own limit refused the memory, which the library or JavaScript says so.
        if (!(error instanceof RangeError)) throw error;
        throw new ModelError("image_undecodable", "The image takes too much memory to decode.", { cause: error });
      });
      const result: ImageResult = { ...image, preprocessMs: performance.now() - began };
      return { result, body: pixels };
    },
);
