import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Region } from "../src/answers/index.ts";
import { isSame, overlaps, rowCosines } from "../src/verify/compare.ts";
import { readGoldens } from "../src/verify/index.ts";
import { fixtures, temporaryFolder } from "./model-fixture.ts";

const box = (label: string, x1: number, y1: number, x2: number, y2: number): Region => ({
  label,
  shape: "box",
  rings: [[x1, y1, x2, y2]],
  locations: [],
});

test("goldens are read image by image, under the older name of an image too", () => {
  const samples = readGoldens(join(fixtures, "drawn/goldens.json"));
  expect(samples).toHaveLength(24);
  expect(samples.flatMap(({ asked }) => asked)).toHaveLength(372);

  using folder = temporaryFolder();
  const file = join(folder.path, "old.json");
  writeFileSync(join(folder.path, "a.png"), "A");
  const cases = [
    { picture: "a.png", task: "<OD>", input: null },
    { picture: "a.png", task: "<CAPTION_TO_PHRASE_GROUNDING>", input: "a cat" },
  ];
  writeFileSync(file, JSON.stringify({ cases }));
  expect(readGoldens(file).map(({ image, asked }) => [Buffer.from(image).toString(), asked])).toEqual([
    [
      "A",
      [
        { task: "<OD>", input: undefined },
        { task: "<CAPTION_TO_PHRASE_GROUNDING>", input: "a cat" },
      ],
    ],
  ]);
});

test("a goldens file that cannot be used is refused by name", () => {
  using folder = temporaryFolder();
  const file = join(folder.path, "goldens.json");
  expect(() => readGoldens(file)).toThrow(/goldens\.json cannot be read/);
  for (const [text, says] of [
    ["{", /not JSON/],
    ["null", /no cases/],
    ['{"cases": []}', /no cases/],
    ['{"cases": [null]}', /Case 0/],
    ['{"cases": [{"image": "a.png"}]}', /Case 0/],
    ['{"cases": [{"image": "a.png", "task": "<OD>", "input": 3}]}', /Case 0/],
    ['{"cases": [{"image": "a.png", "task": "<OD>"}]}', /a\.png cannot be read/],
  ] as const) {
    writeFileSync(file, text);
    expect(() => readGoldens(file)).toThrow(says);
  }
});

test("a region overlaps with its best partner of the same label, each used once, and those left over count 0", () => {
  const a = [box("cat", 0, 0, 9, 9), box("cat", 100, 0, 109, 9)];
  expect(overlaps(a, [box("cat", 100, 0, 109, 9), box("cat", 0, 0, 9, 4), box("dog", 0, 0, 9, 9)])).toEqual([
    0.5, 1, 0,
  ]);
  expect(overlaps(a, [])).toEqual([0, 0]);
});

test("answers are the same by their text where they are text, by labels and overlap where they locate", () => {
  const text = { kind: "pure_text", text: "a cat", regions: [] } as const;
  expect(isSame(text, text)).toBe(true);
  expect(isSame(text, { ...text, text: "a dog" })).toBe(false);
  const located = (...regions: Region[]) => ({ kind: "description_with_bboxes", text: "", regions }) as const;
  expect(isSame(located(box("cat", 0, 0, 9, 9)), located(box("cat", 0, 0, 9, 4)))).toBe(true);
  expect(isSame(located(box("cat", 0, 0, 9, 9)), located(box("cat", 0, 0, 9, 3)))).toBe(false);
  expect(isSame(located(box("cat", 0, 0, 9, 9)), located(box("dog", 0, 0, 9, 9)))).toBe(false);
});

test("cosines are taken row by row", () => {
  expect(rowCosines(Float32Array.of(1, 0, 3, 4), Float32Array.of(5, 0, -3, -4), 2)).toEqual([1, -1]);
  expect(rowCosines(Float32Array.of(1, 0), Float32Array.of(0, 2), 2)).toEqual([0]);
});
