/** Each axis of an image is cut into this many bins; a location token names one of them. */
export const locationBins = 1000;

/** Size of the image that coordinates refer to, in pixels. */
export interface ImageSize {
  width: number;
  height: number;
}

// PyTorch holds coordinates as float32 and rounds after every operation; one rounding less moves a coordinate by a pixel now and then.
const binWidth = (side: number): number => Math.fround(side / locationBins);

const int32Max = 2 ** 31 - 1;

/** The bin of a coordinate on an axis of `side` pixels. Coordinates outside the image go to the nearest bin. */
export function quantize(coordinate: number, side: number): number {
  const bin = Math.floor(Math.fround(Math.fround(coordinate) / binWidth(side)));
  return Math.min(Math.max(bin, 0), locationBins - 1);
}

/** The whole pixel at the centre of a bin on an axis of `side` pixels. A bin past the last one lies outside the image. */
export function dequantize(bin: number, side: number): number {
  const centre = Math.fround(Math.fround(Math.fround(bin) + 0.5) * binWidth(side));
  return Math.min(Math.trunc(centre), int32Max);
}

/** Dequantises bins that are x and y in turn. */
export function dequantizePoints(bins: readonly number[], { width, height }: ImageSize): number[] {
  return bins.map((bin, i) => dequantize(bin, i % 2 === 0 ? width : height));
}

/** The token that names a bin. */
export function locationToken(bin: number): string {
  return `<loc_${bin}>`;
}
