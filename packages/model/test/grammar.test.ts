import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { classify, findTask, type GenerationOptions, Grammar, parseAnswer, tasks } from "../src/index.ts";
import { generate } from "../src/inference/index.ts";
import { fixtures, type LoadedModel, loadModel, readGoldens } from "./model-fixture.ts";

const size = { width: 200, height: 120 };

/** Regions that an answer's location tokens ought to make, by counting alone. */
function regionsWritten(kind: string, text: string): number {
  const locations = text.match(/<loc_\d+>/g)?.length ?? 0;
  if (kind === "ocr") return locations / 8;
  if (kind === "polygons" || text.includes("<poly>"))
    return text.includes("<poly>") ? text.split("<poly>").length - 1 : locations > 0 ? 1 : 0;
  return locations / 4;
}

/** Whether the answer is made of whole regions only, and its reader returns every one. */
function isWellFormed(model: LoadedModel, task: string, ids: readonly number[]): boolean {
  const row = findTask(task);
  const text = model.tokenizer.decode(ids);
  const { regions } = parseAnswer(row.answer, text, size);
  const bare = text.replaceAll(/<\/?s>/g, "");
  const endsInLabel = /[^>]$/.test(bare) || /<\/?s>./.test(text.replace(/^(<\/?s>)+/, ""));
  return regions.length === regionsWritten(row.answer, text) && !(bare !== "" && endsInLabel);
}

const located = tasks.filter((row) => row.answer !== "pure_text");

describe.each(["odd-windows/native", "even-windows/original"])("%s, random weights", (checkpoint) => {
  test("constrained answers lose no region, whatever the length, the beams and the n-gram ban", {
    timeout: 180_000,
  }, async () => {
    await using model = await loadModel(`test/fixtures/${checkpoint}`, { rowsMax: 48, sequencesMax: 24 });
    const fixture = checkpoint.split("/")[0] as string;
    const cases = readGoldens(fixture);
    const classes = classify(model.tokenizer, model.manifest.config.text.eos, model.manifest.config.text.bos);
    let constrained = 0;
    let free = 0;
    let freeWellFormed = 0;
    for (const image of new Set(cases.map((c) => c.image))) {
      const features = await model.encode(join(fixtures, fixture, image));
      const requests = located.flatMap((row) => {
        const promptIds = cases.find((c) => c.task === row.token)?.promptIds as number[];
        return [2, 5, 7, 9, 10, 13, 14, 19, 24, 33, 40].flatMap((maxNewTokens) =>
          [1, 2, 3].flatMap((numBeams) =>
            [0, 3].flatMap((noRepeatNgramSize) => {
              const options: GenerationOptions = {
                maxNewTokens,
                numBeams,
                noRepeatNgramSize,
                lengthPenalty: 1,
                earlyStopping: true,
              };
              const grammar = Grammar.of(row.answer, classes, model.tokenizer);
              return [
                { row, promptIds, options, grammar },
                ...(numBeams === 1 ? [{ row, promptIds, options, grammar: undefined }] : []),
              ];
            }),
          ),
        );
      });
      const finished = await generate(model, features, requests, model.tokenizer.size);
      for (const [i, { row, grammar, options }] of requests.entries()) {
        const ids = finished[i]?.ids as number[];
        const good = isWellFormed(model, row.name, ids);
        if (!grammar) {
          free++;
          if (good) freeWellFormed++;
          continue;
        }
        expect(good, `${row.name} ${JSON.stringify(options)}: ${model.tokenizer.decode(ids)}`).toBe(true);
        constrained++;
      }
    }
    expect(constrained).toBe(2 * located.length * 11 * 3 * 2);
    // The rule does something: without it, random weights write hardly anything well formed.
    expect(freeWellFormed / free).toBeLessThan(0.5);
  });
});

test("the trained checkpoint's well-formed answers are the same with the rule and without", async () => {
  await using model = await loadModel("models/florence-2-drawn");
  const classes = classify(model.tokenizer, model.manifest.config.text.eos, model.manifest.config.text.bos);
  const image = "scene-900006.png";
  const cases = readGoldens("drawn").filter((c) => c.image === image && findTask(c.task).answer !== "pure_text");
  const features = await model.encode(join(fixtures, "drawn", image));
  const options: GenerationOptions = {
    maxNewTokens: 200,
    numBeams: 1,
    noRepeatNgramSize: 3,
    lengthPenalty: 1,
    earlyStopping: true,
  };
  const requests = cases.map((c) => ({
    promptIds: c.promptIds,
    options,
    grammar: Grammar.of(findTask(c.task).answer, classes, model.tokenizer),
  }));
  const finished = await generate(model, features, requests, model.tokenizer.size);
  for (const [i, c] of cases.entries()) {
    if (isWellFormed(model, c.task, c.runs[0]?.ids as number[])) expect(finished[i]?.ids).toEqual(c.runs[0]?.ids);
    else expect(isWellFormed(model, c.task, finished[i]?.ids as number[])).toBe(true);
  }
  expect(cases.length).toBeGreaterThan(6);
});
