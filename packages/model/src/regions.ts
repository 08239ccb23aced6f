import { ModelError } from "./errors.ts";
import { type ImageSize, locationToken, quantize } from "./text/locations.ts";

/** A rectangle in pixels of the upright image: two opposite corners. */
export interface PixelRegion {
  readonly x1: number;
  readonly y1: number;
  readonly x2: number;
  readonly y2: number;
}

const fourNumbers = /^\s*-?[\d.]+\s*(,\s*-?[\d.]+\s*){3}$/;

/** Reads `x1,y1,x2,y2`, spaces allowed. Returns undefined for every other text: it may be location tokens. */
export function parsePixelRegion(text: string): PixelRegion | undefined {
  if (!fourNumbers.test(text)) return undefined;
  const [x1, y1, x2, y2] = text.split(",").map(Number);
  if (x1 === undefined || y1 === undefined || x2 === undefined || y2 === undefined) return undefined;
  return [x1, y1, x2, y2].every(Number.isFinite) ? { x1, y1, x2, y2 } : undefined;
}

/** Throws region_invalid where the corners of a region, in pixels or in bins, stand in the wrong order. */
export function checkCorners({ x1, y1, x2, y2 }: PixelRegion): void {
  if (x1 > x2 || y1 > y2) throw new ModelError("region_invalid", "A region's x1 must not exceed x2, nor y1 exceed y2.");
}

/** A pixel rectangle as the four location tokens that a task takes. Throws region_invalid where it is inverted or leaves the image. */
export function regionToLocations({ x1, y1, x2, y2 }: PixelRegion, { width, height }: ImageSize): string {
  // Written so that NaN fails too.
  const inside = x1 >= 0 && x1 <= x2 && x2 <= width && y1 >= 0 && y1 <= y2 && y2 <= height;
  if (!inside)
    throw new ModelError(
      "region_invalid",
      `The region (${x1}, ${y1}, ${x2}, ${y2}) does not lie in the image of ${width} x ${height} pixels, with x1 <= x2 and y1 <= y2.`,
    );
  const bins = [quantize(x1, width), quantize(y1, height), quantize(x2, width), quantize(y2, height)];
  return bins.map(locationToken).join("");
}
