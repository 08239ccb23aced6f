import { parseAnswer, toAnswer } from "../answers/index.ts";
import type { BuiltModel } from "../compile/cache.ts";
import { tasksOf, type Verification } from "../compile/manifest.ts";
import { encodePrompt } from "../encode-prompt.ts";
import type { Device } from "../engine/device.ts";
import type { GenerationOptions } from "../generation/options.ts";
import { newTokensMax } from "../generation/options.ts";
import { prepareImage } from "../image/prepare.ts";
import { DecodeBatch } from "../inference/decode-batch.ts";
import { generate } from "../inference/generate.ts";
import { PromptModel } from "../inference/prompt-model.ts";
import { VisionModel } from "../inference/vision-model.ts";
import { findTask, isTextKind, type TaskRow } from "../tasks.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";
import { type Comparable, isSame, overlaps, rowCosines } from "./compare.ts";
import type { Asked, Sample } from "./goldens.ts";

/** What a variant must reach to be served without being asked for by name. */
export const gate = {
  // Below this, image tokens begin to mean something else; the published int8 export reaches 0.9989 (reference figures of third parties).
  featuresCosineMean: 0.995,
  equalAnswers: 0.8,
  meanIou: 0.85,
} as const;

export interface VerifyOptions {
  /** What the model will be used on, if it can be had. */
  readonly samples: readonly Sample[];
  readonly device: Device;
  /** Longest answer compared. */
  readonly newTokensMax?: number;
  readonly progress?: (done: number, total: number) => void;
}

const middle = "<loc_250><loc_250><loc_750><loc_750>";
const askedOfAll = (rows: readonly TaskRow[]): readonly Asked[] => [
  ...rows.filter(({ input }) => input === "none").map(({ name }) => ({ task: name })),
  { task: "region_category", input: middle },
  { task: "region_description", input: middle },
];
const defaultNewTokensMax = 200; // Past this an answer that began to differ only differs more.

/**
 * Compares a variant with the fp32 build of the same checkpoint, greedily, on images. Throws a ModelError when an image or a task of the
 * samples cannot be used; rejects when a graph cannot be loaded or run.
 */
export async function verifyVariant(
  variant: BuiltModel,
  reference: BuiltModel,
  options: VerifyOptions,
): Promise<Verification> {
  const theirs = await answers(reference, options, 0);
  const ours = await answers(variant, options, 1);
  const width = reference.manifest.config.text.hidden;
  const cosines = theirs.features.flatMap((features, i) =>
    rowCosines(features, ours.features[i] as Float32Array, width),
  );
  const pairs = theirs.answers.map((a, i) => ({ a, b: ours.answers[i] as Answered }));
  const located = pairs.filter(({ a }) => !isTextKind(a.kind));
  const ious = located.flatMap(({ a, b }) => overlaps(a.regions, b.regions));
  const figures = {
    images: options.samples.length,
    requests: pairs.length,
    featuresCosine: { mean: mean(cosines), min: Math.min(...cosines) },
    equalTokens: mean(pairs.map(({ a, b }) => (a.ids.join() === b.ids.join() ? 1 : 0))),
    equalAnswers: mean(pairs.map(({ a, b }) => (isSame(a, b) ? 1 : 0))),
    meanIou: ious.length > 0 ? mean(ious) : 1,
  };
  const passed =
    figures.featuresCosine.mean >= gate.featuresCosineMean &&
    figures.equalAnswers >= gate.equalAnswers &&
    figures.meanIou >= gate.meanIou;
  return { ...figures, passed };
}

interface Answered extends Comparable {
  readonly ids: readonly number[];
}

async function answers(
  { folder, manifest }: BuiltModel,
  { samples, device, ...options }: VerifyOptions,
  round: number,
) {
  const tokenizer = await Tokenizer.load(folder);
  await using vision = await VisionModel.load(folder, manifest, device);
  await using prompts = await PromptModel.load(folder, manifest, device);
  await using batch = await DecodeBatch.load(folder, manifest, device, { rowsMax: 8, sequencesMax: 8 });
  const generation: GenerationOptions = {
    ...manifest.config.generation,
    numBeams: 1,
    maxNewTokens: Math.min(options.newTokensMax ?? defaultNewTokensMax, newTokensMax(manifest.config)),
  };
  const known = tasksOf(manifest);
  const features: Float32Array[] = [];
  const answered: Answered[] = [];
  for (const [i, { image, asked = askedOfAll(known) }] of samples.entries()) {
    const { pixels, width, height } = await prepareImage(image, {
      autoOrient: true,
      size: manifest.config.preprocess.size,
    });
    const embedding = await vision.encode(pixels, 1);
    features.push(embedding);
    const rows = asked.map(({ task, input }) => ({ row: findTask(task, known), input }));
    const requests = rows.map(({ row, input }) => ({
      promptIds: encodePrompt({ tokenizer, manifest }, row, input),
      options: generation,
    }));
    const all = await generate({ prompts, batch, manifest }, embedding, requests, tokenizer.size);
    for (const [j, { ids }] of all.entries()) {
      const { row, input } = rows[j] as (typeof rows)[number];
      const parsed = parseAnswer(row.answer, tokenizer.decode(ids), { width, height });
      const text = JSON.stringify(toAnswer(row, parsed, input));
      answered.push({ kind: row.answer, text, ids, regions: parsed.regions });
    }
    options.progress?.(round * samples.length + i + 1, 2 * samples.length);
  }
  return { features, answers: answered };
}

function mean(values: readonly number[]): number {
  return values.reduce((n, v) => n + v, 0) / values.length;
}
