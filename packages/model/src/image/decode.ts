import { ModelError } from "../errors.ts";
import { bmpHeader, decodeBmp } from "./formats/bmp.ts";
import { decodeGif, gifHeader } from "./formats/gif.ts";
import { decodeHeic } from "./formats/heic.ts";
import { withJoined } from "./join.ts";
import { decodeNatively, turnUpright } from "./native.ts";
import { type Colour, opaque, type Rgb, rgbOfRgba, type Size } from "./pixels.ts";
import { formatNames, readTypeOf } from "./type.ts";
import { walk } from "./walk.ts";
import { type ImageWarning, warning } from "./warnings.ts";

/** rgb: [height, width, 3], rows from the top. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

export interface DecodedImage extends RgbImage {
  /** What was done to the image and could surprise, in no particular order; none of a kind twice. */
  readonly warnings: readonly ImageWarning[];
}

export interface DecodeOptions {
  /** Turn the image upright as its file says, so that coordinates refer to what a viewer shows. */
  readonly autoOrient: boolean;
  /** Default 50 megapixels. */
  readonly pixelsMax?: number | undefined;
  /** What transparent pixels are seen on. Without one their stored colours are read. */
  readonly background?: Colour | undefined;
}

// A 50-megapixel image takes 150 MB decoded, and is more than nearly all cameras make.
export const imagePixelsMax = 50_000_000;
// JPEG and GIF cannot hold more. It bounds the resize's buffers, which grow with the sides and not with the area.
export const imageSideMax = 65_535;

/**
 * Decodes the first image of a file to 8-bit RGB, as Pillow's `convert("RGB")` would: alpha is dropped, not blended;
 * embedded colour profiles are ignored; CMYK is converted without one. Of 16 bits the upper 8 count, or of grey that
 * leaves them empty, the upper 8 of those in use. The formats and the differences stand in docs/images.md.
 *
 * Throws ModelError: option_invalid for a background that is no colour, image_type_unsupported, image_undecodable (also
 * for a file that is cut off) or, before any pixel is decoded, image_too_many_pixels.
 */
export async function decodeImage(bytes: Uint8Array, options: DecodeOptions): Promise<DecodedImage> {
  const { background } = options;
  if (background && !(background.length === 3 && background.every(isByte))) {
    throw new ModelError("option_invalid", "A background is three whole numbers from 0 to 255: red, green and blue.");
  }
  if (bytes.length === 0) throw new ModelError("image_undecodable", "The image is empty.");
  const type = readTypeOf(bytes);
  if (type === "bmp") {
    const header = bmpHeader(bytes);
    checkSize(header, options);
    const { data, channels } = decodeBmp(bytes, header);
    return finished(header, channels === 4 ? rgbOfRgba(data, background) : opaque(data), []);
  }
  if (type === "gif") {
    const header = gifHeader(bytes);
    checkSize(header, options);
    const { warnings, ...image } = decodeGif(bytes, header, background);
    return finished(header, image, warnings);
  }
  const walked = walk(type, bytes);
  checkSize(walked, options);
  const { warnings, ...stored } = await withJoined(walked.parts, async (file) =>
    type === "heic"
      ? { ...rgbOfRgba(await decodeHeic(file, walked), background), warnings: [] }
      : decodeNatively(formatNames[type], file, walked, background),
  );
  const all = [...walked.warnings, ...warnings];
  const { orientation } = walked;
  if (!options.autoOrient || orientation === 1) return finished(walked, stored, all);
  const upright = await turnUpright(stored.rgb, walked, orientation);
  return finished(upright, { ...stored, rgb: upright.rgb }, [...all, warning("orientation_applied", orientation)]);
}

const isByte = (value: number) => Number.isInteger(value) && value >= 0 && value <= 255;

function checkSize({ width, height }: Size, { pixelsMax = imagePixelsMax }: DecodeOptions): void {
  if (width * height <= pixelsMax && Math.max(width, height) <= imageSideMax) return;
  throw new ModelError(
    "image_too_many_pixels",
    `The image has ${width}x${height} pixels; at most ${pixelsMax} pixels, and ${imageSideMax} on a side, are read.`,
  );
}

function finished({ width, height }: Size, { rgb, hidAlpha }: Rgb, warnings: readonly ImageWarning[]): DecodedImage {
  return { width, height, rgb, warnings: hidAlpha ? [...warnings, warning("alpha_dropped")] : warnings };
}
