import { type AnswerKind, answerKey, isTextKind, type RegionKind, type TaskRow } from "../tasks.ts";
import type { ImageSize } from "../text/locations.ts";
import { strip } from "../text/python-text.ts";
import { dropControlTokens } from "./control-tokens.ts";
import { type JsonValue, readJsonAnswer } from "./json.ts";
import { type Region, toRegion } from "./region.ts";
import { chooseScanner } from "./scanners.ts";

export { type JsonValue, readJsonAnswer } from "./json.ts";
export type { Region } from "./region.ts";

/** The text of a text answer, without <s>, </s> and the spaces around it. Other tokens stay. */
export function parseText(raw: string): string {
  return strip(raw.replaceAll("<s>", "").replaceAll("</s>", ""));
}

/** All regions of an answer, in the order of the text. */
export function parseRegions(kind: RegionKind, raw: string, size: ImageSize): Region[] {
  const { text, offsets } = dropControlTokens(raw, true);
  const regions: Region[] = [];
  const scan = chooseScanner(kind, raw, true);
  for (let phrase = scan?.(text, 0, true); phrase !== undefined; phrase = scan?.(text, phrase.end, true))
    for (const found of phrase.regions) regions.push(toRegion(found, size, offsets));
  return regions;
}

/** What an answer holds: a text for pure_text and json, regions for every other kind. */
export interface ParsedAnswer {
  text?: string;
  regions: Region[];
}

/** Reads an answer from its raw text, tokens included. */
export function parseAnswer(kind: AnswerKind, raw: string, size: ImageSize): ParsedAnswer {
  return isTextKind(kind) ? { text: parseText(raw), regions: [] } : { regions: parseRegions(kind, raw, size) };
}

/** One box or quad: whole pixels, x and y in turn. */
export type Coordinates = number[];

/** A region's score; null where its location tokens could not be told from other text. */
export type Score = number | null;

/** What the reference returns for a task, with scores beside the labels where they are known; for json what the text says. */
export type AnswerValue =
  | JsonValue
  | { bboxes: Coordinates[]; labels: string[]; scores?: Score[] }
  | { quad_boxes: Coordinates[]; labels: string[]; scores?: Score[] }
  | { polygons: Coordinates[][]; labels: string[]; scores?: Score[] }
  | {
      bboxes: Coordinates[];
      bboxes_labels: string[];
      scores?: Score[];
      polygons: Coordinates[][];
      polygons_labels: string[];
      polygons_scores?: Score[];
    };

/** What an answer is built from. Scores are parallel to the regions. */
export interface AnswerParts {
  text?: string | undefined;
  regions?: readonly Pick<Region, "shape" | "label" | "rings">[] | undefined;
  scores?: readonly Score[] | undefined;
}

/**
 * The reference's dictionary for a task, { "<OD>": { bboxes, labels } } and so on, from its parsed parts alone.
 * `input` is the task's input: the key of a prompt of one's own.
 */
export function toAnswer(task: TaskRow, parts: AnswerParts, input?: string): Record<string, AnswerValue> {
  return { [answerKey(task, input)]: toValue(task.answer, parts) };
}

function toValue(kind: AnswerKind, { text = "", regions = [], scores }: AnswerParts): AnswerValue {
  const labels = regions.map(({ label }) => label);
  const first = regions.map(({ rings }) => rings[0] ?? []);
  const scored = scores && { scores: [...scores] };
  switch (kind) {
    case "pure_text":
      return text;
    case "json":
      return readJsonAnswer(text) ?? text;
    case "ocr":
      return { quad_boxes: first, labels, ...scored };
    case "description_with_bboxes":
    case "bboxes":
    case "phrase_grounding":
      return { bboxes: first, labels, ...scored };
    case "polygons":
      return { polygons: regions.map(({ rings }) => rings), labels, ...scored };
    case "description_with_bboxes_or_polygons": {
      const isPolygon = regions.map(({ shape }) => shape === "polygon");
      const boxes = <T>(list: readonly T[]): T[] => list.filter((_, i) => !isPolygon[i]);
      const polygons = <T>(list: readonly T[]): T[] => list.filter((_, i) => isPolygon[i]);
      return {
        bboxes: boxes(first),
        bboxes_labels: boxes(labels),
        ...(scores && { scores: boxes(scores) }),
        polygons: polygons(regions).map(({ rings }) => rings),
        polygons_labels: polygons(labels),
        ...(scores && { polygons_scores: polygons(scores) }),
      };
    }
  }
}
