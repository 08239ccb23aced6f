import { expect, test } from "vitest";
import { parseRegions } from "../src/answers/index.ts";
import { scoreRegions } from "../src/generation/scores.ts";
import { findTask, isTextKind } from "../src/tasks.ts";
import { Tokenizer } from "../src/tokenizer/tokenizer.ts";
import { type Goldens, readFixture, repositoryPath } from "./fixtures.ts";

const size = { width: 1000, height: 1000 };
const tokenizer = await Tokenizer.load(repositoryPath("models/florence-2-drawn"));

/** Ids from the decoder start token on. */
const start = tokenizer.tokenId("</s>") ?? -1;
const word = (text: string): number[] => tokenizer.encode(text).slice(1, -1);
const location = (bin: number): number => tokenizer.locationBase + bin;

test("a box scores the mean log-probability of its own four locations, however the text before it is tokenised", () => {
  const ids = [
    start,
    0,
    0,
    0,
    ...word("東京 car"),
    ...[1, 2, 3, 4].map(location),
    ...[5, 6, 7, 8].map(location),
    ...word("dog"),
    9 + tokenizer.locationBase,
    2,
  ];
  const logProbs = ids.slice(1).map((id) => (tokenizer.isLocation(id) ? -(id - tokenizer.locationBase) : -100));
  const pieces = tokenizer.pieces(ids);
  const regions = parseRegions("description_with_bboxes", pieces.text, size);
  const scores = scoreRegions(regions, pieces, logProbs);
  expect(scores).toEqual([Math.exp(-2.5), Math.exp(-6.5)]);
});

test("a location spelled by ordinary tokens gives its region no score, and others theirs", () => {
  const spelled = "<loc_3>".split("").flatMap(word);
  const ids = [
    start,
    ...word("car"),
    location(1),
    location(2),
    ...spelled,
    location(4),
    ...word("dog"),
    ...[1, 2, 3, 4].map(location),
    2,
  ];
  const pieces = tokenizer.pieces(ids);
  const regions = parseRegions("description_with_bboxes", pieces.text, size);
  expect(regions.map(({ rings }) => rings)).toEqual([[[1, 2, 3, 4]], [[1, 2, 3, 4]]]);
  const logProbs = new Float32Array(ids.length - 1).fill(-1);
  expect(scoreRegions(regions, pieces, logProbs)).toEqual([null, Math.exp(-1)]);
});

test("every region of the golden answers gets a score between 0 and 1", () => {
  let scored = 0;
  for (const { task, imageSize, runs } of readFixture<Goldens>("drawn/goldens.json").cases)
    for (const { ids, tokenLogProbs } of runs) {
      const { answer: kind } = findTask(task);
      if (isTextKind(kind)) continue;
      const pieces = tokenizer.pieces(ids);
      const regions = parseRegions(kind, pieces.text, { width: imageSize[0], height: imageSize[1] });
      for (const score of scoreRegions(regions, pieces, tokenLogProbs)) {
        expect(score).toBeGreaterThan(0);
        expect(score).toBeLessThanOrEqual(1);
        scored += 1;
      }
    }
  expect(scored).toBeGreaterThan(500);
});

test("a polygon without a whole point has no score", () => {
  const ids = [
    start,
    ...word("a"),
    location(1),
    tokenizer.tokenId("<sep>") ?? -1,
    tokenizer.tokenId("<sep>") ?? -1,
    tokenizer.tokenId("<sep>") ?? -1,
    2,
  ];
  const pieces = tokenizer.pieces(ids);
  const regions = parseRegions("polygons", pieces.text, size);
  expect(scoreRegions(regions, pieces, new Float32Array(ids.length - 1))).toEqual(regions.map(() => null));
});
