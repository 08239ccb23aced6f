import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { numbersOf } from "../src/engine/engine.ts";
import { type Finished, imagesPerCall, newSearch, prepareImage } from "../src/index.ts";
import { generate, type Sequence } from "../src/inference/index.ts";
import { fixtures, type LoadedModel, loadModel, readGoldens } from "./model-fixture.ts";
import { random } from "./random.ts";

interface Asked {
  readonly promptIds: readonly number[];
  readonly beams: number;
  readonly maxNewTokens: number;
}

describe.each(["fp32", "fp16", "int8", "int4"] as const)("in %s", (precision) => {
  const image = "scene-900001.png";
  const prompts = readGoldens("drawn").filter((c) => c.image === image);
  const asked: Asked[] = prompts.flatMap((c, i) =>
    [1, 3].map((beams) => ({ promptIds: c.promptIds, beams, maxNewTokens: 20 + 8 * (i % 5) })),
  );
  const options = ({ beams, maxNewTokens }: Asked) => ({
    numBeams: beams,
    maxNewTokens,
    lengthPenalty: 1,
    noRepeatNgramSize: 3,
    earlyStopping: true,
  });
  let model: LoadedModel;
  let features: Float32Array;
  const alone = new Map<Asked, Finished>();

  beforeAll(async () => {
    model = await loadModel("models/florence-2-drawn", { rowsMax: 24, sequencesMax: 10 }, precision);
    features = await model.encode(join(fixtures, "drawn", image));
    for (const a of asked) {
      const [finished] = await generate(
        model,
        features,
        [{ promptIds: a.promptIds, options: options(a) }],
        model.tokenizer.size,
      );
      alone.set(a, finished as Finished);
    }
  });
  afterAll(() => model[Symbol.asyncDispose]());

  test("an answer is the same alone and in any mix of beams, ages, joins and cancellations", async () => {
    const next = random(7);
    let compared = 0;
    for (let round = 0; round < 6; round++) {
      const waiting = [...asked].sort(() => next() - 0.5).slice(0, 16);
      const running = new Map<Sequence, Asked>();
      while (waiting.length > 0 || running.size > 0) {
        while (waiting.length > 0 && next() < 0.6 && model.batch.hasRoom((waiting[0] as Asked).beams)) {
          const a = waiting.shift() as Asked;
          using encoded = await model.prompts.encode([features], [{ ids: a.promptIds, image: 0 }]);
          running.set(
            model.batch.join(newSearch(model.manifest.config, options(a), model.tokenizer.size), a.beams, encoded, 0),
            a,
          );
        }
        for (const { sequence, advance } of await model.batch.step()) {
          if (advance.kind !== "done") continue;
          const expected = alone.get(running.get(sequence) as Asked) as Finished;
          expect(advance.finished.ids).toEqual(expected.ids);
          // Equal to the last bit where this was measured (AVX-512); other kernels may add in another order.
          for (const [i, p] of expected.logProbs.entries())
            expect(Math.abs((advance.finished.logProbs[i] as number) - p)).toBeLessThan(1e-4);
          running.delete(sequence);
          compared++;
        }
        for (const sequence of running.keys()) {
          if (next() > 0.02) continue;
          model.batch.leave(sequence);
          running.delete(sequence);
        }
      }
    }
    expect(compared).toBeGreaterThan(60);
    expect(model.batch.bytes).toBe(0);
  });

  // Equal to the last bit where this was measured, as above. What float32 noise does to numbers of 16 bits is one step of theirs.
  const expectEqual = (actual: Float32Array, expected: Float32Array) => {
    expect(actual).toHaveLength(expected.length);
    const step = precision === "fp16" ? 2 ** -10 : 0;
    const differ = actual.filter((x, i) => Math.abs(x - (expected[i] as number)) > 1e-5 + step * Math.abs(x));
    expect(differ).toHaveLength(0);
  };

  test("an image's features are the same alone and among as many as a call may hold", async () => {
    const { size } = model.manifest.config.preprocess;
    const names = readdirSync(join(fixtures, "drawn")).filter((name) => name.startsWith("scene-"));
    const some = await Promise.all(
      names
        .slice(0, 8)
        .map((name) => prepareImage(readFileSync(join(fixtures, "drawn", name)), { autoOrient: false, size })),
    );
    const perCall = imagesPerCall(model.manifest, { batchMax: 4, batchBytesMax: 2 ** 31 });
    expect(perCall).toBe(precision === "fp32" || precision === "fp16" ? 4 : 1);
    for (let first = 0; first < some.length; first += perCall) {
      const call = some.slice(first, first + perCall);
      const together = await model.vision.encode(Buffer.concat(call.map(({ pixels }) => pixels)), call.length);
      const numbers = together.length / call.length;
      for (const [i, { pixels }] of call.entries())
        expectEqual(together.subarray(i * numbers, (i + 1) * numbers), await model.vision.encode(pixels, 1));
    }
  });

  test("a prompt's keys and values are the same alone and among as many as a call may hold", async () => {
    const bucket = model.prompts.bucketOf(prompts[0]?.promptIds.length as number);
    const some = prompts.filter(({ promptIds }) => model.prompts.bucketOf(promptIds.length) === bucket);
    const call = some.slice(0, Math.min(6, model.prompts.promptsMax)).map((c) => ({ ids: c.promptIds, image: 0 }));
    expect(call).toHaveLength(precision === "fp32" || precision === "fp16" ? 6 : 1);
    using together = await model.prompts.encode([features], call);
    for (const [i, prompt] of call.entries()) {
      using one = await model.prompts.encode([features], [prompt]);
      expect(one.lengths[0]).toBe(together.lengths[i]);
      for (const [name, tensor] of Object.entries(one.tensors)) {
        const [, heads, positions, dim] = tensor.dims as [number, number, number, number];
        const numbers = heads * positions * dim;
        const all = numbersOf(together.tensors, name, "float32");
        const [its, own] = [all.subarray(i * numbers, (i + 1) * numbers), numbersOf(one.tensors, name, "float32")];
        expectEqual(its, own);
      }
    }
  });
});

test("prompts of different lengths and images that share a padded call decode as they do alone", async () => {
  await using model = await loadModel("test/fixtures/even-windows/native");
  const cases = readGoldens("even-windows");
  const names = [...new Set(cases.map((c) => c.image))];
  const images = await Promise.all(names.map((p) => model.encode(join(fixtures, "even-windows", p))));
  const some = cases.filter((_, i) => i % 4 === 0);
  using encoded = await model.prompts.encode(
    images,
    some.map((c) => ({ ids: c.promptIds, image: names.indexOf(c.image) })),
  );
  const places = new Map<Sequence, number>();
  for (const [i, c] of some.entries()) {
    const settings = {
      numBeams: 1,
      maxNewTokens: c.runs[0]?.maxNewTokens as number,
      lengthPenalty: 1,
      noRepeatNgramSize: 3,
      earlyStopping: true,
    };
    places.set(model.batch.join(newSearch(model.manifest.config, settings, model.tokenizer.size), 1, encoded, i), i);
  }
  while (model.batch.sequences.length > 0) {
    for (const { sequence, advance } of await model.batch.step()) {
      if (advance.kind === "done")
        expect(advance.finished.ids).toEqual(some[places.get(sequence) as number]?.runs[0]?.ids);
    }
  }
});

test("a search that needs more candidates than the graph returns gets all logits, and the same answer", async () => {
  await using model = await loadModel("test/fixtures/odd-windows/native");
  const [first] = readGoldens("odd-windows");
  const features = await model.encode(join(fixtures, "odd-windows", first?.image as string));
  // One token may never occur twice: after sixteen steps most of the sixteen best are banned.
  const settings = { numBeams: 5, maxNewTokens: 60, lengthPenalty: 1, noRepeatNgramSize: 1, earlyStopping: true };
  const [finished] = await generate(
    model,
    features,
    [{ promptIds: first?.promptIds as number[], options: settings }],
    model.tokenizer.size,
  );
  const free = finished?.ids.slice(1, -1) as number[];
  expect(new Set(free).size).toBe(free.length);
});
