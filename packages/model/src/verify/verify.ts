import { type AnswerValue, parseAnswer, type Region, toAnswer } from "../answers/index.ts";
import type { BuiltModel } from "../compile/cache.ts";
import type { Verification } from "../compile/manifest.ts";
import type { GenerationOptions } from "../generation/options.ts";
import { newTokensMax } from "../generation/options.ts";
import type { Finished } from "../generation/search.ts";
import { prepareImage } from "../image/prepare.ts";
import { DecodeBatch } from "../inference/decode-batch.ts";
import { generate } from "../inference/generate.ts";
import { PromptModel } from "../inference/prompt-model.ts";
import { VisionModel } from "../inference/vision-model.ts";
import { buildPrompt, findTask, type TaskRow, tasks } from "../tasks.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";

/** What a variant must reach to be served without being asked for by name. */
export const gate = {
  // Below this, image tokens begin to mean something else; the published int8 export reaches 0.9989 (reference figures of third parties).
  featuresCosineMean: 0.995,
  equalAnswers: 0.8,
  meanIou: 0.85,
} as const;

export interface VerifyOptions {
  /** Image files: what the model will be used on, if they can be had. */
  readonly images: readonly Uint8Array[];
  /** Each image's requests; every task without input and two on a region in the middle, unless given. */
  readonly requests?: readonly (readonly { readonly task: string; readonly input?: string | undefined }[])[];
  readonly threads: number;
  /** Longest answer compared. */
  readonly newTokensMax?: number;
  readonly progress?: (done: number, total: number) => void;
}

const middle = "<loc_250><loc_250><loc_750><loc_750>";
const defaultRequests = [
  ...tasks.filter(({ input }) => input === "none").map(({ name }) => ({ task: name, input: undefined })),
  { task: "region_category", input: middle },
  { task: "region_description", input: middle },
];
const defaultNewTokensMax = 200; // Past this an answer that began to differ only differs more.

/** Compares a variant with the fp32 build of the same checkpoint, greedily, on images. */
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
  const located = pairs.filter(({ a }) => a.row.answer !== "pure_text");
  const ious = located.flatMap(({ a, b }) => overlaps(a.regions, b.regions));
  const figures = {
    images: options.images.length,
    requests: pairs.length,
    featuresCosine: { mean: mean(cosines), min: Math.min(...cosines) },
    equalTokens: mean(pairs.map(({ a, b }) => (a.finished.ids.join() === b.finished.ids.join() ? 1 : 0))),
    equalAnswers: mean(pairs.map(({ a, b }) => (isSame(a, b) ? 1 : 0))),
    meanIou: ious.length > 0 ? mean(ious) : 1,
  };
  const passed =
    figures.featuresCosine.mean >= gate.featuresCosineMean &&
    figures.equalAnswers >= gate.equalAnswers &&
    figures.meanIou >= gate.meanIou;
  return { ...figures, passed };
}

interface Answered {
  readonly row: TaskRow;
  readonly finished: Finished;
  readonly regions: readonly Region[];
  readonly answer: Record<string, AnswerValue>;
}

async function answers(model: BuiltModel, options: VerifyOptions, round: number) {
  const { folder, manifest } = model;
  const { threads, images } = options;
  const tokenizer = await Tokenizer.load(folder);
  await using vision = await VisionModel.load(folder, manifest, threads);
  await using prompts = await PromptModel.load(folder, manifest, threads);
  await using batch = await DecodeBatch.load(folder, manifest, threads, { rowsMax: 8, sequencesMax: 8 });
  const generation: GenerationOptions = {
    ...manifest.config.generation,
    numBeams: 1,
    maxNewTokens: Math.min(options.newTokensMax ?? defaultNewTokensMax, newTokensMax(manifest.config)),
  };
  const features: Float32Array[] = [];
  const answered: Answered[] = [];
  for (const [i, bytes] of images.entries()) {
    const { pixels, width, height } = await prepareImage(bytes, {
      autoOrient: true,
      size: manifest.config.preprocess.size,
    });
    const embedding = await vision.encode(pixels, 1);
    features.push(embedding);
    const rows = (options.requests?.[i] ?? defaultRequests).map(({ task, input }) => ({ row: findTask(task), input }));
    const requests = rows.map(({ row, input }) => ({
      promptIds: tokenizer.encode(buildPrompt(row, input)),
      options: generation,
    }));
    const all = await generate({ prompts, batch, manifest }, embedding, requests, tokenizer.size);
    for (const [j, finished] of all.entries()) {
      const { row, input } = rows[j] as (typeof rows)[number];
      const parsed = parseAnswer(row.answer, tokenizer.decode(finished.ids), { width, height });
      answered.push({ row, finished, regions: parsed.regions, answer: toAnswer(row, parsed, input) });
    }
    options.progress?.(round * images.length + i + 1, 2 * images.length);
  }
  return { features, answers: answered };
}

function isSame(a: Answered, b: Answered): boolean {
  if (a.row.answer === "pure_text") return JSON.stringify(a.answer) === JSON.stringify(b.answer);
  const labels = (of: Answered) =>
    of.regions
      .map((r) => r.label)
      .sort()
      .join("\n");
  return labels(a) === labels(b) && overlaps(a.regions, b.regions).every((iou) => iou >= 0.5);
}

/** Overlap of each region with its best partner of the same label, each used once; 0 for those left over on either side. */
function overlaps(a: readonly Region[], b: readonly Region[]): number[] {
  const free = new Set(b);
  const out: number[] = [];
  for (const region of a) {
    let best: Region | undefined;
    let most = 0;
    for (const other of free) {
      const iou =
        region.label === other.label && region.shape === other.shape ? boxIou(bounds(region), bounds(other)) : 0;
      if (iou > most) [best, most] = [other, iou];
    }
    if (best) free.delete(best);
    out.push(most);
  }
  return [...out, ...Array(free.size).fill(0)];
}

type Box = readonly [x1: number, y1: number, x2: number, y2: number];

function bounds({ rings }: Region): Box {
  const flat = rings.flat();
  const xs = flat.filter((_, i) => i % 2 === 0);
  const ys = flat.filter((_, i) => i % 2 === 1);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/** Coordinates are whole pixels, both ends included. */
function boxIou(a: Box, b: Box): number {
  const area = ([x1, y1, x2, y2]: Box) => Math.max(0, x2 - x1 + 1) * Math.max(0, y2 - y1 + 1);
  const shared = area([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
  return shared / (area(a) + area(b) - shared);
}

function rowCosines(a: Float32Array, b: Float32Array, width: number): number[] {
  const out: number[] = [];
  for (let at = 0; at < a.length; at += width) {
    let dot = 0;
    let aa = 0;
    let bb = 0;
    for (let i = at; i < at + width; i++) {
      const [x, y] = [a[i] as number, b[i] as number];
      dot += x * y;
      aa += x * x;
      bb += y * y;
    }
    out.push(dot / Math.sqrt(aa * bb));
  }
  return out;
}

function mean(values: readonly number[]): number {
  return values.reduce((n, v) => n + v, 0) / values.length;
}
