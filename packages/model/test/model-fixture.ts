import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type BuiltModel,
  type GenerationOptions,
  newSearch,
  type Precision,
  prepareImage,
  prepareModel,
  type Search,
  Tokenizer,
} from "../src/index.ts";
import { cpu, DecodeBatch, PromptModel, VisionModel } from "../src/inference/index.ts";

export const root = fileURLToPath(new URL("../../../", import.meta.url));
export const fixtures = join(root, "test/fixtures");

export interface Values {
  readonly shape: readonly number[];
  readonly at: readonly number[];
  readonly values: readonly number[];
}

export interface GoldenRun {
  readonly beams: number;
  readonly maxNewTokens: number;
  readonly ids: readonly number[];
  readonly text: string;
  readonly tokenLogProbs: readonly number[];
  readonly score?: number;
  readonly minMargin?: number;
  readonly answer: Record<string, unknown>;
}

export interface GoldenCase {
  readonly image: string;
  readonly task: string;
  readonly input: string | null;
  readonly promptIds: readonly number[];
  readonly imageSize: readonly [number, number];
  readonly features?: Values;
  readonly runs: readonly GoldenRun[];
}

export function readGoldens(fixture: string): GoldenCase[] {
  return JSON.parse(readFileSync(join(fixtures, fixture, "goldens.json"), "utf8")).cases;
}

/** The reference's settings of every golden run. */
export const goldenOptions = (run: GoldenRun): GenerationOptions => ({
  maxNewTokens: run.maxNewTokens,
  numBeams: run.beams,
  lengthPenalty: 1,
  noRepeatNgramSize: 3,
  earlyStopping: true,
});

/** A folder that is removed when it goes out of scope. */
export function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "florence-test-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export interface LoadedModel extends AsyncDisposable {
  readonly built: BuiltModel;
  readonly manifest: BuiltModel["manifest"];
  readonly tokenizer: Tokenizer;
  readonly vision: VisionModel;
  readonly prompts: PromptModel;
  readonly batch: DecodeBatch;
  /** Encodes an image of the fixtures, without EXIF rotation as the reference does. -> [image_tokens, hidden] */
  encode(path: string): Promise<Float32Array>;
}

/** Builds a checkpoint of the repository into a temporary folder and loads all three graphs. */
export async function loadModel(
  folder: string,
  limits = { rowsMax: 24, sequencesMax: 12 },
  precision: Precision = "fp32",
): Promise<LoadedModel> {
  await using resources = new AsyncDisposableStack();
  const cache = resources.use(temporaryFolder());
  const model = resources.use(
    await loadFolder(await prepareModel(join(root, folder), { cacheFolder: cache.path, precision }), limits),
  );
  const held = resources.move();
  return { ...model, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/** Loads all three graphs of a built folder. */
export async function loadFolder(built: BuiltModel, limits = { rowsMax: 24, sequencesMax: 12 }): Promise<LoadedModel> {
  await using resources = new AsyncDisposableStack();
  const { manifest } = built;
  const vision = resources.use(await VisionModel.load(built.folder, manifest, cpu(2)));
  const prompts = resources.use(await PromptModel.load(built.folder, manifest, cpu(2)));
  const batch = resources.use(await DecodeBatch.load(built.folder, manifest, cpu(2), limits));
  const tokenizer = await Tokenizer.load(built.folder);
  const encode = async (path: string) => {
    const { pixels } = await prepareImage(readFileSync(path), {
      autoOrient: false,
      size: manifest.config.preprocess.size,
    });
    return vision.encode(pixels, 1);
  };
  const held = resources.move();
  return {
    built,
    manifest,
    tokenizer,
    vision,
    prompts,
    batch,
    encode,
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** The largest difference in units of what counts as equal: 2e-4 absolute + 1e-3 relative. Below 1 is equal. */
export function excess(expected: Values, actual: Float32Array): number {
  return Math.max(
    ...expected.at.map((at, i) => {
      const value = expected.values[i] as number;
      return Math.abs((actual[at] as number) - value) / (2e-4 + 1e-3 * Math.abs(value));
    }),
  );
}

/**
 * How close the closest decision of a search was, in log-probability: below float32 noise (about 1e-5) it may fall either way, on
 * another processor or in the reference itself.
 */
export async function closestDecision(
  model: LoadedModel,
  features: Float32Array,
  c: GoldenCase,
  run: GoldenRun,
): Promise<number> {
  const search = newSearch(model.manifest.config, goldenOptions(run), model.tokenizer.size);
  let closest = Number.POSITIVE_INFINITY;
  const watched: Search = {
    get hypotheses() {
      return search.hypotheses;
    },
    advance(rows) {
      const scores = rows.flatMap((row, i) =>
        Array.from(row.logits, (logit) => (search.hypotheses[i]?.score ?? 0) + logit - row.logSum),
      );
      scores.sort((a, b) => b - a);
      for (let i = 0; i < 2 * run.beams; i++)
        closest = Math.min(closest, (scores[i] as number) - (scores[i + 1] as number));
      return search.advance(rows);
    },
  };
  using encoded = await model.prompts.encode([features], [{ ids: c.promptIds, image: 0 }]);
  model.batch.join(watched, run.beams, encoded, 0);
  while (model.batch.sequences.length > 0) await model.batch.step();
  return closest;
}
