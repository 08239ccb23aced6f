import { createHash } from "node:crypto";
import { type DecodeOptions, decodeImage, type RgbImage } from "./decode.ts";
import { resizeBicubic } from "./resize.ts";
import type { ImageWarning } from "./warnings.ts";

/**
 * Raised when decoding or resizing gives other pixels than before for some image, or when embeddings were stored that
 * must not be found again. p3: GIF's transparent pixels have their palette's colour, grey of few bits is scaled, more
 * places of a file tell the orientation. Part of every embedding's key.
 */
export const preprocessVersion = "p3";

/** An image as the vision graph takes it. */
export interface PreparedImage {
  /** The decoded image's own size, which answers' coordinates refer to. */
  readonly width: number;
  readonly height: number;
  /** [size, size, 3], RGB */
  readonly pixels: Uint8Array;
  /** See imageDigest. */
  readonly sha256: string;
  /** See DecodedImage. */
  readonly warnings: readonly ImageWarning[];
}

/**
 * Names an image by what it shows: SHA-256, in hex, of the ASCII text `<width>x<height>\n` followed by the RGB rows.
 * Two files of the same pixels have the same digest; the same bytes in another shape have another.
 */
export function imageDigest({ width, height, rgb }: RgbImage): string {
  return createHash("sha256").update(`${width}x${height}\n`).update(rgb).digest("hex");
}

/**
 * Decodes an image, names it and resizes it to a square (the aspect ratio is not kept, as in the reference).
 * Throws what decodeImage throws. Decoding is asynchronous; the digest and the resize keep this thread busy.
 */
export async function prepareImage(
  bytes: Uint8Array,
  options: DecodeOptions & { readonly size: number },
): Promise<PreparedImage> {
  const image = await decodeImage(bytes, options);
  const { width, height, rgb, warnings } = image;
  const { size } = options;
  return {
    width,
    height,
    pixels: resizeBicubic(rgb, image, { width: size, height: size }),
    sha256: imageDigest(image),
    warnings,
  };
}
