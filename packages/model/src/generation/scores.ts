import type { Region, Score } from "../answers/index.ts";
import type { Pieces } from "../tokenizer/tokenizer.ts";

const locationText = /<loc_\d+>/y;

/**
 * A score for each region: exp of the mean log-probability of its own location tokens. Null where ordinary tokens
 * spell what looks like a location, or where the region has none.
 *
 * The regions were parsed from `text`, the decoded text of all ids from the decoder start on; `starts` and `ends`
 * are its tokens' places. `tokenLogProbs` has no entry for the decoder start: one fewer.
 */
export function scoreRegions(
  regions: readonly Pick<Region, "locations">[],
  { text, starts, ends }: Pieces,
  tokenLogProbs: ArrayLike<number>,
): Score[] {
  const tokenAt = new Map<number, number>();
  for (const [token, start] of starts.entries()) if (ends[token] !== start) tokenAt.set(start, token);

  const logProb = (offset: number): number | undefined => {
    const token = tokenAt.get(offset);
    locationText.lastIndex = offset;
    const length = locationText.exec(text)?.[0].length;
    if (token === undefined || length === undefined || ends[token] !== offset + length) return undefined;
    return tokenLogProbs[token - 1];
  };

  return regions.map(({ locations }) => {
    let sum = 0;
    for (const offset of locations) {
      const value = logProb(offset);
      if (value === undefined) return null;
      sum += value;
    }
    return locations.length === 0 ? null : Math.exp(sum / locations.length);
  });
}
