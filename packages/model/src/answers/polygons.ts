import { findDescription, phraseLabel } from "./boxes.ts";
import { type FoundRegion, findLocations, mayContinue, type Phrase, type PhraseScanner } from "./region.ts";

const fourItems = /(?:<loc_\d+>|<sep>|<poly>|<\/poly>){4}/g;
const itemRun = /(?:<loc_\d+>|<sep>|<poly>|<\/poly>)+/y;
const instanceBrackets = /<poly>(.*?)<\/poly>/g;
const polygonRun = /((?:<loc_\d+>)+)(?:<sep>|$)/g;

/** `polygons`: outlines without labels, as a rule. */
export const scanPolygons: PhraseScanner = (text, from, final) => {
  fourItems.lastIndex = from;
  const match = fourItems.exec(text);
  if (match === null) return undefined;
  const at = match.index;
  // The reference looks for a label behind the first location, where a stray separator can take its place.
  return polygonPhrase(
    text,
    { start: at, items: at, label: at + (/^<loc_\d+>/.exec(match[0])?.[0].length ?? 0) },
    final,
  );
};

/** Polygons with labels, which open_vocabulary_detection may answer with. */
export const scanLabelledPolygons: PhraseScanner = (text, from, final) => {
  const found = findDescription(fourItems, text, from);
  return found && polygonPhrase(text, { ...found, label: found.start }, final);
};

/** Where a phrase, its items and its label begin. */
interface PhraseStart {
  start: number;
  items: number;
  label: number;
}

function polygonPhrase(text: string, { start, items, label: labelStart }: PhraseStart, final: boolean): Phrase {
  itemRun.lastIndex = items;
  const end = items + (itemRun.exec(text)?.[0].length ?? 0);
  const closed = final || !mayContinue(text.slice(end), ["<loc_", "<sep>", "<poly>", "</poly>"]);

  const labelled = text.slice(labelStart, end);
  const labelLength = labelled.search(/<loc_|<poly>/);
  const label = labelLength === -1 ? undefined : phraseLabel(labelled.slice(0, labelLength));
  if (label === undefined) return { end, closed, regions: [] };

  const stretches = instanceStretches(text.slice(start, end), start, closed);
  return { end, closed, regions: stretches.flatMap(({ stretch, at }) => polygonInstance(stretch, at, label) ?? []) };
}

/** Each <poly>…</poly> is an instance; a phrase without a pair of them is one as a whole, known once it is closed. */
function instanceStretches(phrase: string, start: number, closed: boolean): { stretch: string; at: number }[] {
  const bracketed = phrase.includes("<poly>") && phrase.includes("</poly>");
  if (!bracketed) return closed ? [{ stretch: phrase, at: start }] : [];
  return [...phrase.matchAll(instanceBrackets)].map((match) => ({
    stretch: match[1] ?? "",
    at: start + match.index + "<poly>".length,
  }));
}

function polygonInstance(stretch: string, at: number, label: string): FoundRegion | undefined {
  const bins: number[][] = [];
  const locations: number[] = [];
  for (const run of stretch.matchAll(polygonRun)) {
    const found = findLocations(run[1] ?? "", at + run.index);
    if (found.length % 2 === 1) found.pop(); // An x without its y.
    bins.push(found.map(({ bin }) => bin));
    locations.push(...found.map(({ offset }) => offset));
  }
  return bins.length === 0 ? undefined : { shape: "polygon", label, bins, locations };
}
