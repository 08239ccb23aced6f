import { createHash } from "node:crypto";
import { type DecodeOptions, decodePicture, type Picture } from "./image.ts";
import { resizeBicubic } from "./resize.ts";

/** A picture as the vision graph takes it. */
export interface PreparedPicture {
  /** The decoded picture's own size, which answers' coordinates refer to. */
  readonly width: number;
  readonly height: number;
  /** [size, size, 3], RGB */
  readonly pixels: Uint8Array;
  /** See pictureDigest. */
  readonly sha256: string;
}

/**
 * Names a picture by what it shows: SHA-256, in hex, of the ASCII text `<width>x<height>\n` followed by the RGB rows.
 * Two files of the same pixels have the same digest; the same bytes in another shape have another.
 */
export function pictureDigest({ width, height, rgb }: Picture): string {
  return createHash("sha256").update(`${width}x${height}\n`).update(rgb).digest("hex");
}

/**
 * Decodes a picture, names it and resizes it to a square (the aspect ratio is not kept, as in the reference).
 * Throws what decodePicture throws. Decoding is asynchronous; the digest and the resize keep this thread busy.
 */
export async function preparePicture(
  bytes: Uint8Array,
  options: DecodeOptions & { readonly size: number },
): Promise<PreparedPicture> {
  const picture = await decodePicture(bytes, options);
  const { width, height, rgb } = picture;
  const { size } = options;
  return {
    width,
    height,
    pixels: resizeBicubic(rgb, picture, { width: size, height: size }),
    sha256: pictureDigest(picture),
  };
}
