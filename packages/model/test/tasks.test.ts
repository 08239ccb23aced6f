import type { ErrorCode } from "@florence/service";
import { expect, test } from "vitest";
import { ModelError } from "../src/errors.ts";
import {
  answerKey,
  buildPrompt,
  findTask,
  joinClasses,
  parsePixelRegion,
  regionToLocations,
  splitTask,
  tasks,
} from "../src/tasks.ts";
import { checkpoints, type Goldens, readFixture } from "./fixtures.ts";

function codeOf(action: () => unknown): ErrorCode | undefined {
  try {
    action();
  } catch (error) {
    if (error instanceof ModelError) return error.code;
    throw error;
  }
  return undefined;
}

test("every golden prompt is built from its task and input", () => {
  for (const file of new Set(checkpoints.map(({ goldens }) => goldens)))
    for (const { task, input, prompt } of readFixture<Goldens>(file).cases)
      expect(buildPrompt(findTask(task), input ?? undefined)).toBe(prompt);
});

test("a task is found by its name and by its token", () => {
  for (const row of tasks) {
    expect(findTask(row.name)).toBe(row);
    if (row.token !== "") expect(findTask(row.token)).toBe(row);
  }
});

test("an unknown task is refused with the names of those that exist", () => {
  for (const name of ["", "od", "<od>", "constructor"]) expect(codeOf(() => findTask(name))).toBe("task_unknown");
  expect(() => findTask("detect")).toThrow(/object_detection.*prompt/);
});

test("input is stripped, and what looks like a template or a replacement pattern stays as it is", () => {
  expect(buildPrompt(findTask("referring_segmentation"), " a car\n")).toBe("Locate a car in the image with mask");
  expect(buildPrompt(findTask("phrase_grounding"), "{input} $& $1")).toBe(
    "Locate the phrases in the caption: {input} $& $1",
  );
});

test("missing and unexpected inputs are refused", () => {
  for (const row of tasks) {
    if (row.input === "none") expect(codeOf(() => buildPrompt(row, "car"))).toBe("task_input_unexpected");
    else
      for (const input of [undefined, "", " \n"])
        expect(codeOf(() => buildPrompt(row, input))).toBe("task_input_missing");
  }
});

test("a prompt of one's own is sent as it is and is the key of its answer", () => {
  const task = findTask("prompt");
  expect(buildPrompt(task, " <VQA> how many? ")).toBe(" <VQA> how many? ");
  expect(answerKey(task, "<VQA> how many?")).toBe("<VQA> how many?");
});

test("a region is four location tokens in order and nothing else", () => {
  const task = findTask("region_category");
  expect(buildPrompt(task, " <loc_0><loc_5><loc_0><loc_999> ")).toBe(
    "What is the region <loc_0><loc_5><loc_0><loc_999>?",
  );
  const bad = [
    "a car",
    "1,2,3,4",
    "<loc_1><loc_2><loc_3>",
    "<loc_1><loc_2><loc_3><loc_4><loc_5>",
    "<loc_1> <loc_2><loc_3><loc_4>",
    "<loc_1><loc_2><loc_3><loc_1000>",
    "<loc_01><loc_2><loc_3><loc_4>",
    "<loc_4><loc_2><loc_3><loc_4>",
    "<loc_1><loc_5><loc_3><loc_4>",
  ];
  for (const input of bad)
    expect(
      codeOf(() => buildPrompt(task, input)),
      input,
    ).toBe("region_invalid");
});

test("a pixel region becomes location tokens up to the image's border, and is refused beyond it", () => {
  const size = { width: 640, height: 480 };
  expect(regionToLocations({ x1: 0, y1: 240, x2: 640, y2: 480 }, size)).toBe("<loc_0><loc_500><loc_999><loc_999>");
  const bad = [
    { x1: -0.1, y1: 0, x2: 1, y2: 1 },
    { x1: 0, y1: 0, x2: 640.5, y2: 1 },
    { x1: 0, y1: 0, x2: 1, y2: Number.POSITIVE_INFINITY },
    { x1: 2, y1: 0, x2: 1, y2: 1 },
    { x1: 0, y1: 3, x2: 1, y2: 1 },
    { x1: 0, y1: 0, x2: 1, y2: Number.NaN },
  ];
  for (const region of bad) expect(codeOf(() => regionToLocations(region, size))).toBe("region_invalid");
});

test("classes are joined with <and>", () => {
  expect(joinClasses(["cat", " dog ", ""])).toBe("cat<and>dog");
  expect(codeOf(() => joinClasses([" "]))).toBe("task_input_missing");
});

test("four numbers with commas between are a region in pixels, and every other text is left to the task", () => {
  expect(parsePixelRegion("0,1.5, 20 ,-3")).toEqual({ x1: 0, y1: 1.5, x2: 20, y2: -3 });
  for (const text of ["", "1,2,3", "1,2,3,4,5", "1,2,3,4.5.6", "1,2,3,.", "1,2,3,1e3", "<loc_1><loc_2><loc_3><loc_4>"])
    expect(parsePixelRegion(text), text).toBeUndefined();
});

test("a task and its input in one text are told apart, however they are joined", () => {
  const rows = [...tasks, { name: "doc_vqa", token: "<Doc=VQA>" }];
  const cases: [string, string, string | undefined][] = [
    ["caption", "caption", undefined],
    ["<CAPTION>", "caption", undefined],
    ["phrase_grounding=a red: circle = a star", "phrase_grounding", "a red: circle = a star"],
    ["phrase_grounding:a = b", "phrase_grounding", "a = b"],
    ["<CAPTION_TO_PHRASE_GROUNDING>a <b> c\nd", "phrase_grounding", "a <b> c\nd"],
    ["<CAPTION_TO_PHRASE_GROUNDING>=a cat", "phrase_grounding", "a cat"],
    ["<CAPTION_TO_PHRASE_GROUNDING>: a cat", "phrase_grounding", " a cat"],
    ["<REGION_TO_OCR><loc_1><loc_2><loc_3><loc_4>", "region_ocr", "<loc_1><loc_2><loc_3><loc_4>"],
    ["prompt=<OD>", "prompt", "<OD>"],
    ["<Doc=VQA>What: a date?", "doc_vqa", "What: a date?"],
    ["caption=", "caption", undefined],
  ];
  for (const [written, name, input] of cases) {
    const split = splitTask(written, rows);
    expect({ name: split.row.name, input: split.input }, written).toEqual({ name, input });
  }
  for (const written of ["", "=", "detect=a cat", "<OD", "<>a", "< OD>", "<XY>z", "OD", "od>x"])
    expect(
      codeOf(() => splitTask(written, rows)),
      written,
    ).toBe("task_unknown");
});
