import { dequantizePoints, type ImageSize } from "../text/locations.ts";

/** One box, quad or polygon instance of an answer. */
export interface Region {
  /** box: one ring of x1 y1 x2 y2. quad: one ring of four points. polygon: one ring for each of the instance's polygons. */
  shape: "box" | "quad" | "polygon";
  /** Empty where the task has no labels. */
  label: string;
  /** Whole pixels, x and y in turn. */
  rings: number[][];
  /** Where the region's own location tokens begin: UTF-16 offsets into the text that was parsed. */
  locations: number[];
}

/** A region whose offsets refer to the text without control tokens, before its bins become pixels. */
export interface FoundRegion {
  shape: Region["shape"];
  label: string;
  bins: number[][];
  locations: number[];
}

/** A stretch of text that holds one label and its regions. */
export interface Phrase {
  /** Where the search for the next phrase begins. */
  end: number;
  /** False while text to come may still lengthen the phrase, and with it the list of its regions. */
  closed: boolean;
  /** Those regions that no text to come can change. */
  regions: FoundRegion[];
}

/**
 * Finds the first phrase at or after `from`. Text to come may follow unless `final`; a phrase found in a text is found,
 * with the same first regions, in every longer text.
 */
export type PhraseScanner = (text: string, from: number, final: boolean) => Phrase | undefined;

/** Location tokens as the reference's parser sees them, <loc_1000> included. */
const locationPattern = /<loc_(\d+)>/g;

/** The location tokens in a stretch of text: their bins and their offsets, counted from `at`. */
export function findLocations(stretch: string, at: number): { bin: number; offset: number }[] {
  return [...stretch.matchAll(locationPattern)].map((match) => ({ bin: Number(match[1]), offset: at + match.index }));
}

/** Whether a text that ends like this may go on to lengthen a run of `items`; a location's digits are still open. */
export function mayContinue(rest: string, items: readonly string[]): boolean {
  return /^<loc_\d+$/.test(rest) || items.some((item) => item.startsWith(rest));
}

/** Bins become pixels; offsets go back to those of the raw text, one for each character of the scanned one. */
export function toRegion(
  { shape, label, bins, locations }: FoundRegion,
  size: ImageSize,
  offsets: readonly number[],
): Region {
  return {
    shape,
    label,
    rings: bins.map((ring) => dequantizePoints(ring, size)),
    locations: locations.flatMap((at) => offsets[at] ?? []),
  };
}
