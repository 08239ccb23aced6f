import { asciiOnly, lstrip, strip } from "../text/python-text.ts";
import { type FoundRegion, findLocations, mayContinue, type Phrase, type PhraseScanner } from "./region.ts";
import { ungroundable } from "./ungroundable.ts";

const fourLocations = /(?:<loc_\d+>){4}/g;
const locationRun = /(?:<loc_\d+>)+/y;

/** `bboxes`: boxes without labels; text between them is ignored. */
export const scanBoxes: PhraseScanner = (text, from, final) => {
  fourLocations.lastIndex = from;
  const match = fourLocations.exec(text);
  return match === null ? undefined : boxPhrase(text, match.index, final);
};

/** `description_with_bboxes`: a label and its boxes. */
export const scanLabelledBoxes: PhraseScanner = (text, from, final) => scanDescription(text, from, final, () => false);

/** `phrase_grounding`: as labelled boxes, but for phrases that mean nothing by themselves. */
export const scanGroundedPhrases: PhraseScanner = (text, from, final) =>
  scanDescription(text, from, final, (label) => ungroundable.has(label));

function scanDescription(
  text: string,
  from: number,
  final: boolean,
  ignored: (label: string) => boolean,
): Phrase | undefined {
  const found = findDescription(fourLocations, text, from);
  if (found === undefined) return undefined;
  const phrase = boxPhrase(text, found.items, final);
  const label = phraseLabel(text.slice(found.start, found.items));
  if (label === undefined || ignored(label)) return { ...phrase, regions: [] };
  return { ...phrase, regions: phrase.regions.map((region) => ({ ...region, label: asciiOnly(label) })) };
}

/**
 * Finds `[^<]+` followed by a match of `items`: the text between the last "<" and the items. Where nothing stands
 * before the first item of a run, that item less its "<" becomes the description, as in the reference.
 */
export function findDescription(
  items: RegExp,
  text: string,
  from: number,
): { start: number; items: number } | undefined {
  items.lastIndex = from;
  for (let match = items.exec(text); match !== null; match = items.exec(text)) {
    const at = match.index;
    const start = at === 0 ? 0 : Math.max(from, text.lastIndexOf("<", at - 1) + 1);
    if (start < at) return { start, items: at };
    items.lastIndex = at + 1;
  }
  return undefined;
}

/** A description without the spaces around it; undefined where a line break within it hides it from the reference. */
export function phraseLabel(description: string): string | undefined {
  return lstrip(description).includes("\n") ? undefined : strip(description);
}

/** A run of locations at `at`, its boxes without labels yet. */
function boxPhrase(text: string, at: number, final: boolean): Phrase {
  locationRun.lastIndex = at;
  const run = locationRun.exec(text)?.[0] ?? "";
  const found = findLocations(run, at);
  const regions: FoundRegion[] = [];
  // One to three locations left over at the end make no box.
  for (let i = 0; i + 4 <= found.length; i += 4) {
    const box = found.slice(i, i + 4);
    regions.push({
      shape: "box",
      label: "",
      bins: [box.map(({ bin }) => bin)],
      locations: box.map(({ offset }) => offset),
    });
  }
  const end = at + run.length;
  return { end, closed: final || !mayContinue(text.slice(end), ["<loc_"]), regions };
}
