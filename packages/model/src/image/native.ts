import sharp, { type Sharp } from "sharp";
import { damaged } from "./byte-reader.ts";
import type { Walked } from "./formats/walked.ts";
import { type Orientation, turns } from "./orientation.ts";
import {
  type Colour,
  clippedGrey,
  grey8Of16,
  onCanvas,
  opaque,
  type Rgb,
  rgbOfCmyk,
  rgbOfGrey,
  rgbOfRgba,
  type Size,
  upperBytes,
} from "./pixels.ts";
import { type ImageWarning, warning } from "./warnings.ts";

// An image of 50 megapixels takes about one second. Past this, the bytes were made to be slow.
const decodeSecondsMax = 20;

// These settings belong to the whole process. The loaders of every other format are closed, so that no SVG, PDF or
// ImageMagick code runs on what a stranger sent, even if it passes for one of the formats that are read.
sharp.block({ operation: ["VipsForeignLoad"] });
sharp.unblock({
  operation: [
    "VipsForeignLoadJpegBuffer",
    "VipsForeignLoadPngBuffer",
    "VipsForeignLoadWebpBuffer",
    "VipsForeignLoadTiffBuffer",
    "VipsForeignLoadHeifBuffer",
  ],
});
// Bytes seen twice are served from the embedding store, not from here.
sharp.cache(false);
// One thread per image; several images decode in parallel.
sharp.concurrency(1);

/**
 * Decodes what a walk kept, on sharp's own threads, to RGB on the image's canvas, as it is stored.
 * format: its name in messages. Throws ModelError image_undecodable.
 */
export async function decodeNatively(
  format: string,
  file: Uint8Array,
  walked: Walked,
  background: Colour | undefined,
): Promise<Rgb & { readonly warnings: readonly ImageWarning[] }> {
  const size = walked.frame ?? walked;
  const image = sharp(file, {
    autoOrient: false,
    ignoreIcc: true,
    // In a TIFF, a strip that cannot be decoded would be left black.
    failOn: format === "TIFF" ? "error" : "truncated",
    limitInputPixels: size.width * size.height,
  });
  image.timeout({ seconds: decodeSecondsMax });
  const samples = (channels: number, depth?: Depth) => run(format, image, size, channels, depth);
  switch (walked.samples) {
    case "cmyk":
      image.pipelineColourspace("cmyk").toColourspace("cmyk");
      return { ...opaque(rgbOfCmyk(await samples(4))), warnings: [] };
    case "cmyk16": {
      image.pipelineColourspace("cmyk").toColourspace("cmyk");
      return { ...opaque(rgbOfCmyk(upperBytes(words(await samples(4, "ushort"))))), warnings: [] };
    }
    case "grey16": {
      image.pipelineColourspace("grey16").toColourspace("grey16").removeAlpha();
      const { grey, bits } = grey8Of16(words(await samples(1, "ushort")));
      return { ...opaque(rgbOfGrey(grey)), warnings: bits < 16 ? [warning("grey_scaled", bits)] : [] };
    }
    case "grey-clipped": {
      image.pipelineColourspace("b-w").toColourspace("b-w").removeAlpha();
      const data = await samples(1, "float");
      const { grey, clipped } = clippedGrey(new Float32Array(data.buffer, data.byteOffset, data.length / 4));
      return { ...opaque(rgbOfGrey(grey)), warnings: clipped ? [warning("values_clipped")] : [] };
    }
    case "rgb": {
      image.toColourspace("srgb");
      if (walked.alpha) image.ensureAlpha();
      else image.removeAlpha();
      const channels = walked.alpha ? 4 : 3;
      // What no frame covers is transparent black.
      const { width, height, frame } = walked;
      const stored = await samples(channels);
      const whole = frame ? onCanvas(stored, frame, { width, height, channels, fill: 0 }) : stored;
      return { ...(walked.alpha ? rgbOfRgba(whole, background) : opaque(whole)), warnings: [] };
    }
  }
}

const words = (data: Uint8Array) => new Uint16Array(data.buffer, data.byteOffset, data.length / 2);

const depthBytes = { uchar: 1, ushort: 2, float: 4 } as const;
type Depth = keyof typeof depthBytes;

/** Throws unless the decoder gives just the size and the channels that the walk promised. */
async function run(
  format: string,
  image: Sharp,
  { width, height }: Size,
  channels: number,
  depth: Depth = "uchar",
): Promise<Uint8Array> {
  const { data, info } = await image
    .raw({ depth })
    .toBuffer({ resolveWithObject: true })
    .catch((error: unknown) => {
      throw damaged(format, error);
    });
  const expected = width * height * channels * depthBytes[depth];
  if (info.width !== width || info.height !== height || data.length !== expected) {
    const found = `${info.width}x${info.height} pixels, ${data.length} bytes`;
    throw damaged(format, new RangeError(`${found}, and not ${width}x${height} and ${expected}.`));
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.length);
}

/** [height, width, 3] turned upright. */
export async function turnUpright(
  rgb: Uint8Array,
  { width, height }: Size,
  orientation: Orientation,
): Promise<Size & { readonly rgb: Uint8Array }> {
  const { mirror, degrees } = turns[orientation];
  const image = sharp(rgb, { raw: { width, height, channels: 3 }, limitInputPixels: width * height });
  // Whatever the order of the calls, the mirror comes first.
  if (mirror) image.flop();
  if (degrees !== 0) image.rotate(degrees);
  const size = degrees % 180 === 0 ? { width, height } : { width: height, height: width };
  return { ...size, rgb: await run("decoded", image, size, 3) };
}
