import { strip } from "../text/python-text.ts";
import { findLocations, type PhraseScanner } from "./region.ts";

const eightLocations = /(?:<loc_\d+>){8}/g;

/** `ocr`: a line of text, whatever it holds, and the four corners around it. A line ends at its eighth location. */
export const scanQuads: PhraseScanner = (text, from) => {
  eightLocations.lastIndex = from;
  for (let match = eightLocations.exec(text); match !== null; match = eightLocations.exec(text)) {
    const at = match.index;
    const start = at === 0 ? 0 : Math.max(from, text.lastIndexOf("\n", at - 1) + 1);
    if (start < at) {
      const found = findLocations(match[0], at);
      const bins = [found.map(({ bin }) => bin)];
      const locations = found.map(({ offset }) => offset);
      const regions = [{ shape: "quad" as const, label: strip(text.slice(start, at)), bins, locations }];
      return { end: at + match[0].length, closed: true, regions };
    }
    // Nothing stands before these locations, so the first of them becomes the line, as in the reference.
    eightLocations.lastIndex = at + 1;
  }
  return undefined;
};
