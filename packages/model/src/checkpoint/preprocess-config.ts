import { invalid, neutral, number, numbers, object } from "./fields.ts";
import type { Json } from "./files.ts";

export interface PreprocessConfig {
  /** Side of the square input image, in pixels. */
  readonly size: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly rescale: number;
}

/** The published checkpoints' own settings, for folders that come without them. */
export const modelCardPreprocess: Json = {
  size: { height: 768, width: 768 },
  image_mean: [0.485, 0.456, 0.406],
  image_std: [0.229, 0.224, 0.225],
  do_center_crop: false,
};

/** Settings that change pixels and are not obeyed, with the values at which they do nothing. */
const unsupported: Readonly<Record<string, readonly unknown[]>> = {
  do_resize: [true],
  do_pad: [false],
  do_flip_channel_order: [false],
  do_reduce_labels: [false],
  // 3 is bicubic.
  resample: [3],
};

/**
 * How an image becomes the vision graph's input: resized to a square, times `rescale`, less `mean`, divided by `std`. What is switched
 * off is the same arithmetic with 1, 0 and 1. Throws checkpoint_config_invalid or checkpoint_unsupported, naming the key.
 */
export function parsePreprocess(json: Json): PreprocessConfig {
  neutral(json, "The image processor's configuration", unsupported);
  const size = sideOf(json.size);
  if (size === undefined) throw invalid("the image processor's size must give one square side, as height and width");
  if (json.do_center_crop === true && sideOf(json.crop_size ?? json.size) !== size)
    throw invalid("the image processor's do_center_crop is not supported where it cuts something off");
  const normalise = json.do_normalize !== false;
  return {
    size,
    mean: normalise ? numbers(json, ["image_mean"], 3) : [0, 0, 0],
    std: normalise ? numbers(json, ["image_std"], 3) : [1, 1, 1],
    rescale: json.do_rescale === false ? 1 : number(json, ["rescale_factor"], 1 / 255),
  };
}

function sideOf(size: unknown): number | undefined {
  if (typeof size === "number") return size;
  const { height, width } = typeof size === "object" && size !== null ? object({ size }, "size") : {};
  return typeof height === "number" && height === width ? height : undefined;
}
