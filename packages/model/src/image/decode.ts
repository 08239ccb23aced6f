import sharp, { type Metadata } from "sharp";
import { ModelError } from "../errors.ts";
import { imageTypeOf } from "./type.ts";

/** A decoded image; rgb: [height, width, 3], rows from the top. */
export interface Image {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

export interface DecodeOptions {
  /** Turn the image upright as its EXIF data says, so that coordinates refer to what a viewer shows. */
  readonly autoOrient: boolean;
  /** Default 50 megapixels. */
  readonly pixelsMax?: number;
}

// A 50-megapixel image takes 150 MB decoded, and is more than nearly all cameras make.
export const imagePixelsMax = 50_000_000;
// JPEG and GIF cannot hold more. It bounds the resize's buffers, which grow with the sides and not with the area.
export const imageSideMax = 65_535;
// An image of 50 megapixels takes about one second. Past this, the bytes were made to be slow.
const decodeSecondsMax = 20;

// These settings belong to the whole process. The loaders of every other format are closed, so that no SVG, PDF or
// ImageMagick code runs on what a stranger sent, even if it passes for one of the four formats.
sharp.block({ operation: ["VipsForeignLoad"] });
sharp.unblock({
  operation: [
    "VipsForeignLoadJpegBuffer",
    "VipsForeignLoadPngBuffer",
    "VipsForeignLoadWebpBuffer",
    "VipsForeignLoadNsgifBuffer",
  ],
});
// Bytes seen twice are served from the embedding store, not from here.
sharp.cache(false);
// One thread per image; several images decode in parallel.
sharp.concurrency(1);

/**
 * Decodes a JPEG, PNG, WebP or GIF (its first frame) to 8-bit RGB, as Pillow's `convert("RGB")` would: alpha is
 * dropped, not blended; embedded colour profiles are ignored; CMYK is converted without one; of 16 bits the upper 8
 * count.
 *
 * Throws ModelError: image_type_unsupported, image_undecodable (also for a file that is cut off) or, before any pixel
 * is decoded, image_too_many_pixels.
 */
export async function decodeImage(bytes: Uint8Array, options: DecodeOptions): Promise<Image> {
  const { autoOrient, pixelsMax = imagePixelsMax } = options;
  if (bytes.length === 0) throw new ModelError("image_undecodable", "The image is empty.");
  const type = imageTypeOf(bytes);
  if (type === undefined) {
    throw new ModelError("image_type_unsupported", "The image is not a JPEG, PNG, WebP or GIF file.");
  }
  const undecodable = (cause: unknown) =>
    new ModelError("image_undecodable", `The ${type.toUpperCase()} image is damaged or cut off.`, { cause });

  // The header's size is compared here and not by sharp, whose refusal could only be told from others by its wording.
  let header: Metadata;
  try {
    header = await sharp(bytes, { limitInputPixels: false }).metadata();
  } catch (error) {
    throw undecodable(error);
  }
  const { width, height } = header;
  if (width * height > pixelsMax || Math.max(width, height) > imageSideMax) {
    const limit = `${pixelsMax} pixels, and ${imageSideMax} on a side`;
    throw new ModelError(
      "image_too_many_pixels",
      `The image has ${width}x${height} pixels; at most ${limit}, are read.`,
    );
  }

  const cmyk = header.space === "cmyk";
  const image = sharp(bytes, { autoOrient, ignoreIcc: true, failOn: "truncated", limitInputPixels: pixelsMax });
  image.timeout({ seconds: decodeSecondsMax });
  if (cmyk) image.pipelineColourspace("cmyk").toColourspace("cmyk");
  else image.toColourspace("srgb").removeAlpha();
  try {
    const { data, info } = await image.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    const channels = cmyk ? 4 : 3;
    if (data.length !== info.width * info.height * channels) {
      throw new RangeError(`${data.length} bytes are not ${info.width}x${info.height} pixels of ${channels} channels.`);
    }
    const pixels = new Uint8Array(data.buffer, data.byteOffset, data.length);
    return { width: info.width, height: info.height, rgb: cmyk ? rgbOfCmyk(pixels) : pixels };
  } catch (error) {
    throw undecodable(error);
  }
}

/** [N, 4] ink to [N, 3] light, as Pillow computes it: what the black leaves, less each ink's share of that. */
function rgbOfCmyk(cmyk: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((cmyk.length / 4) * 3);
  for (let from = 0, to = 0; from < cmyk.length; from += 4) {
    const light = 255 - (cmyk[from + 3] as number);
    for (let ink = 0; ink < 3; ink++) {
      // The product divided by 255 and rounded, without a division.
      const product = (cmyk[from + ink] as number) * light + 128;
      rgb[to++] = light - ((product + (product >> 8)) >> 8);
    }
  }
  return rgb;
}
