import { expect, test } from "vitest";
import { parseAnswer, parseRegions, toAnswer } from "../src/answers/index.ts";
import { findTask, isTextKind } from "../src/tasks.ts";
import { checkpoints, type Goldens, type ParseFixture, readFixture } from "./fixtures.ts";

const { cases } = readFixture<ParseFixture>("parse.json");
const size = { width: 1000, height: 1000 };

test("every answer of the reference's parser is met", () => {
  expect(cases).toHaveLength(900);
  for (const { task: token, imageSize, text, answer } of cases) {
    const task = findTask(token);
    const [width, height] = imageSize;
    expect(
      toAnswer(task, parseAnswer(task.answer, text, { width, height })),
      `${token} ${JSON.stringify(text)}`,
    ).toEqual(answer);
  }
});

test("every golden answer is met", () => {
  for (const file of new Set(checkpoints.map(({ goldens }) => goldens)))
    for (const { task: token, imageSize, runs } of readFixture<Goldens>(file).cases)
      for (const { text, answer } of runs) {
        const task = findTask(token);
        const [width, height] = imageSize;
        expect(toAnswer(task, parseAnswer(task.answer, text, { width, height })), text).toEqual(answer);
      }
});

test("a region knows where its location tokens stand in the raw text", () => {
  for (const { task: token, text, imageSize } of cases) {
    const { answer: kind } = findTask(token);
    if (isTextKind(kind)) continue;
    const [width, height] = imageSize;
    const tokens = text.replaceAll(/<\/?s>|<pad>/g, (control) => " ".repeat(control.length));
    for (const { locations, rings } of parseRegions(kind, text, { width, height })) {
      expect(locations).toHaveLength(rings.flat().length);
      for (const at of locations) expect(tokens.slice(at)).toMatch(/^<loc_\d+>/);
    }
  }
});

test("a text of many unfinished labels is read in linear time", () => {
  const lines = "a<b<loc_1><loc_2><loc_3>".repeat(40_000);
  for (const kind of ["ocr", "description_with_bboxes", "bboxes", "polygons"] as const)
    expect(parseRegions(kind, `${lines}\n`, size)).toEqual([]);
});

test("scores stand beside the labels that they belong to, and only where given", () => {
  const box = { shape: "box" as const, label: "car", rings: [[1, 2, 3, 4]] };
  const polygon = { shape: "polygon" as const, label: "dog", rings: [[1, 2, 3, 4, 5, 6]] };
  const detection = findTask("object_detection");
  expect(toAnswer(detection, { regions: [box, box], scores: [0.5, null] })).toEqual({
    "<OD>": {
      bboxes: [
        [1, 2, 3, 4],
        [1, 2, 3, 4],
      ],
      labels: ["car", "car"],
      scores: [0.5, null],
    },
  });
  expect(toAnswer(detection, { regions: [] })).toEqual({ "<OD>": { bboxes: [], labels: [] } });
  expect(toAnswer(findTask("open_vocabulary_detection"), { regions: [polygon, box], scores: [0.1, 0.2] })).toEqual({
    "<OPEN_VOCABULARY_DETECTION>": {
      bboxes: [[1, 2, 3, 4]],
      bboxes_labels: ["car"],
      scores: [0.2],
      polygons: [[[1, 2, 3, 4, 5, 6]]],
      polygons_labels: ["dog"],
      polygons_scores: [0.1],
    },
  });
});

test("the answer to a prompt of one's own has the prompt as its key", () => {
  const task = findTask("prompt");
  expect(toAnswer(task, parseAnswer(task.answer, "</s><s> yes</s>", size), "<VQA> a car?")).toEqual({
    "<VQA> a car?": "yes",
  });
});

test("a json answer is what its text says, and the text itself where that cannot be sent", () => {
  const task = { ...findTask("ocr"), name: "receipt", token: "<RECEIPT>", answer: "json" } as const;
  const answerOf = (raw: string) => toAnswer(task, parseAnswer(task.answer, raw, size))["<RECEIPT>"];
  expect(answerOf('</s><s> {"total": [1.5, null, "<loc_1>"], "__proto__": true}</s>')).toEqual(
    JSON.parse('{"total": [1.5, null, "<loc_1>"], "__proto__": true}'),
  );
  expect(answerOf("</s><s>741</s>")).toBe(741);
  const deep = "[".repeat(5_000) + "]".repeat(5_000);
  for (const text of ["", "{'total': 1}", '{"total":', "Summer", '{"total": 1e999}', deep])
    expect(answerOf(`</s><s>${text}</s>`)).toBe(text);
});
