import { type AnswerKind, isTextKind } from "../tasks.ts";
import type { ImageSize } from "../text/locations.ts";
import { dropControlTokens } from "./control-tokens.ts";
import { type Region, toRegion } from "./region.ts";
import { chooseScanner } from "./scanners.ts";

/**
 * Regions of an answer while it is being generated. A box is returned with its fourth location and a quad with its
 * eighth; a polygon instance with its </poly> or, without one, with the first text or token that is not part of it.
 * Open-vocabulary boxes come only at the end, because a later <poly> would turn the whole answer into polygons.
 *
 * What has been returned never changes: all together, in order, is what parseRegions returns for the whole text.
 */
export class RegionStream {
  readonly #kind: AnswerKind;
  readonly #size: ImageSize;
  #raw = "";
  #from = 0; // Where the phrase under way may begin, in the text without control tokens.
  #returned = 0; // Regions of that phrase returned already.

  constructor(kind: AnswerKind, size: ImageSize) {
    this.#kind = kind;
    this.#size = size;
  }

  /** Takes the text that a token added; returns the regions that are certain now and were not before. */
  push(piece: string): Region[] {
    this.#raw += piece;
    return piece === "" ? [] : this.#advance(false);
  }

  /** The text has ended: returns the regions that waited for this. */
  finish(): Region[] {
    return this.#advance(true);
  }

  #advance(final: boolean): Region[] {
    if (isTextKind(this.#kind)) return [];
    const scan = chooseScanner(this.#kind, this.#raw, final);
    if (scan === undefined) return [];
    // Cleaning the whole text each time is quadratic, but an answer ends after about a thousand tokens.
    const { text, offsets } = dropControlTokens(this.#raw, final);
    const regions: Region[] = [];
    for (let phrase = scan(text, this.#from, final); phrase !== undefined; phrase = scan(text, this.#from, final)) {
      for (const found of phrase.regions.slice(this.#returned)) regions.push(toRegion(found, this.#size, offsets));
      this.#returned = phrase.closed ? 0 : phrase.regions.length;
      if (!phrase.closed) break;
      this.#from = phrase.end;
    }
    return regions;
  }
}
