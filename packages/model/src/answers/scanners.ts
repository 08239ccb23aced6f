import type { RegionKind } from "../tasks.ts";
import { scanBoxes, scanGroundedPhrases, scanLabelledBoxes } from "./boxes.ts";
import { scanLabelledPolygons, scanPolygons } from "./polygons.ts";
import { scanQuads } from "./quads.ts";
import type { PhraseScanner } from "./region.ts";

const scanners: Record<Exclude<RegionKind, "description_with_bboxes_or_polygons">, PhraseScanner> = {
  ocr: scanQuads,
  description_with_bboxes: scanLabelledBoxes,
  bboxes: scanBoxes,
  phrase_grounding: scanGroundedPhrases,
  polygons: scanPolygons,
};

/** The scanner for an answer; undefined while text to come may still decide which one it is. */
export function chooseScanner(kind: RegionKind, raw: string, final: boolean): PhraseScanner | undefined {
  if (kind !== "description_with_bboxes_or_polygons") return scanners[kind];
  // A single <poly>, even at the very end, turns the whole answer into polygons.
  if (raw.includes("<poly>")) return scanLabelledPolygons;
  return final ? scanLabelledBoxes : undefined;
}
