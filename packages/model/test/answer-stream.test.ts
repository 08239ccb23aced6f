import { expect, test } from "vitest";
import { parseRegions, type Region } from "../src/answers/index.ts";
import { RegionStream } from "../src/answers/stream.ts";
import { type AnswerKind, findTask, isTextKind } from "../src/tasks.ts";
import { checkpoints, type Goldens, type ParseFixture, readFixture } from "./fixtures.ts";

const texts = [
  ...readFixture<ParseFixture>("parse.json").cases,
  ...checkpoints.flatMap(({ goldens }) =>
    readFixture<Goldens>(goldens).cases.flatMap(({ task, imageSize, runs }) =>
      runs.map(({ text }) => ({ task, imageSize, text })),
    ),
  ),
];

/** What tokens add: whole special tokens, and a few letters of other text. */
const tokenPieces = (text: string): string[] => text.match(/<\/?[a-z_]+\d*>|[^<]{1,3}|</g) ?? [];
const characters = (text: string): string[] => [...text];

function streamAll(kind: AnswerKind, size: { width: number; height: number }, pieces: string[]): Region[] {
  const stream = new RegionStream(kind, size);
  return [...pieces.flatMap((piece) => stream.push(piece)), ...stream.finish()];
}

test.each([
  ["token by token", tokenPieces],
  ["character by character", characters],
])("regions streamed %s are those of the finished text, in order", (_, split) => {
  for (const { task, imageSize, text } of texts) {
    const [width, height] = imageSize;
    const { answer: kind } = findTask(task);
    const pieces = split(text);
    expect(pieces.join("")).toBe(text);
    const whole = isTextKind(kind) ? [] : parseRegions(kind, text, { width, height });
    expect(streamAll(kind, { width, height }, pieces), `${task} ${JSON.stringify(text)}`).toEqual(whole);
  }
});

test("a control token that is spelled out across pieces never changes what was returned", () => {
  const size = { width: 1000, height: 1000 };
  const text = "car<loc_1><loc_2><loc_<s>3><loc_4><</s>s>dog<po<pad>ly><loc_5><loc_6><loc_7><loc_8><<s>/s>";
  for (const kind of ["ocr", "description_with_bboxes", "bboxes", "polygons", "phrase_grounding"] as const)
    expect(streamAll(kind, size, characters(text))).toEqual(parseRegions(kind, text, size));
});

/** The number of regions that each piece of a text brings, the last number being those of the end. */
function arrivals(token: string, pieces: string[]): number[] {
  const stream = new RegionStream(findTask(token).answer, { width: 1000, height: 1000 });
  return [...pieces.map((piece) => stream.push(piece).length), stream.finish().length];
}

const four = ["<loc_1>", "<loc_2>", "<loc_3>", "<loc_4>"];

test("a box comes with its fourth location", () => {
  const pieces = ["</s>", "<s>", "car", ...four, ...four, "dog", ...four, "</s>"];
  for (const token of ["<OD>", "<DENSE_REGION_CAPTION>", "<CAPTION_TO_PHRASE_GROUNDING>", "<REGION_PROPOSAL>"])
    expect(arrivals(token, pieces)).toEqual([0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0]);
});

test("a quad comes with its eighth location", () => {
  expect(arrivals("<OCR_WITH_REGION>", ["<s>", "STOP", ...four, ...four, "sign", ...four, ...four, "</s>"])).toEqual([
    0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0,
  ]);
});

test("a bracketed polygon comes with its </poly>, another with the text behind it", () => {
  const bracketed = ["<s>", "<poly>", ...four, "</poly>", "<poly>", ...four, "</poly>", "</s>"];
  expect(arrivals("<REFERRING_EXPRESSION_SEGMENTATION>", bracketed)).toEqual([
    0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0,
  ]);
  expect(arrivals("<OPEN_VOCABULARY_DETECTION>", ["cat", ...bracketed])).toEqual([
    0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0,
  ]);
  expect(arrivals("<REGION_TO_SEGMENTATION>", [...four, "<sep>", ...four, "and", ...four, "</s>"])).toEqual([
    0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1,
  ]);
});

test("an open-vocabulary box waits for the end, where no <poly> can follow any more", () => {
  expect(arrivals("<OPEN_VOCABULARY_DETECTION>", ["cat", ...four, "</s>"])).toEqual([0, 0, 0, 0, 0, 0, 1]);
});
