// Times one checkpoint in one precision, in this process alone:
//   node lab/bench/model.ts CHECKPOINT [--precision fp32|fp16|int8|int4] [--threads 2] [--json]
// Minima over several runs: the machine's other work only ever adds. Prints one Markdown row.
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type BuiltModel, newSearch, type Precision, prepareModel } from "@florence/model";
import { cpu, DecodeBatch, PromptModel, VisionModel } from "@florence/model/inference";
import { buildApart } from "./build-apart.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    precision: { type: "string", default: "fp32" },
    threads: { type: "string", default: String(availableParallelism()) },
    json: { type: "boolean", default: false },
  },
});
const [checkpoint] = positionals;
if (!checkpoint) {
  console.error("usage: node lab/bench/model.ts CHECKPOINT [--precision P] [--threads N] [--json]");
  process.exit(2);
}
const precision = values.precision as Precision;
const threads = Number(values.threads);
const cacheFolder = mkdtempSync(join(tmpdir(), "florence-bench-"));
try {
  const build = await buildApart(checkpoint, precision, cacheFolder);
  const model = await prepareModel(checkpoint, { cacheFolder, precision });
  const figures = {
    checkpoint: model.manifest.name,
    precision,
    threads,
    ...build,
    diskMB: mega(diskBytes(model)),
    ...(await measure(model)),
  };
  if (values.json) console.log(JSON.stringify(figures, null, 1));
  else {
    console.log(`| ${Object.keys(figures).join(" | ")} |`);
    console.log(`| ${Object.values(figures).join(" | ")} |`);
  }
} finally {
  rmSync(cacheFolder, { recursive: true, force: true });
}

async function measure({ folder, manifest }: BuiltModel) {
  const { config } = manifest;
  const size = config.preprocess.size;
  const pixels = Uint8Array.from({ length: size * size * 3 }, (_, i) => (i * 7919) % 256);
  const loadBegan = performance.now();
  const vision = await VisionModel.load(folder, manifest, cpu(threads));
  const features = await vision.encode(pixels, 1);
  const encodeMs = await least(4, () => vision.encode(pixels, 1));
  const visionPeakMB = peakMB();
  await vision[Symbol.asyncDispose]();

  const prompts = await PromptModel.load(folder, manifest, cpu(threads));
  const batch = await DecodeBatch.load(folder, manifest, cpu(threads), { rowsMax: 48, sequencesMax: 16 });
  const loadSeconds = (performance.now() - loadBegan) / 1000;
  const ids = [0, ...Array(11).fill(50), 2];
  using encoded = await prompts.encode([features], [{ ids, image: 0 }]);
  const promptMs = await least(4, () => prompts.encode([features], [{ ids, image: 0 }]));
  const step = async (sequences: number, beams: number) => {
    const options = { maxNewTokens: 100, numBeams: beams, lengthPenalty: 1, noRepeatNgramSize: 3, earlyStopping: true };
    for (let i = 0; i < sequences; i++)
      batch.join(newSearch(config, options, config.text.vocabulary), beams, encoded, 0);
    for (let i = 0; i < 4; i++) await batch.step();
    const best = await least(20, () => batch.step());
    for (const sequence of [...batch.sequences]) batch.leave(sequence);
    return best;
  };
  const steps = {
    tokenMs: await step(1, 1),
    beams3Ms: await step(1, 3),
    sequences4Ms: await step(4, 1),
    sequences8Ms: await step(8, 1),
    sequences16Ms: await step(16, 1),
  };
  const rounded = Object.fromEntries(
    Object.entries({ encodeMs, promptMs, ...steps }).map(([k, v]) => [k, v.toFixed(v < 100 ? 1 : 0)]),
  );
  return { loadSeconds: loadSeconds.toFixed(1), ...rounded, visionPeakMB, servePeakMB: peakMB() };
}

async function least(times: number, run: () => Promise<unknown>): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < times; i++) {
    const began = performance.now();
    await run();
    best = Math.min(best, performance.now() - began);
  }
  return best;
}

/** Highest resident memory of this process so far: one process holds all three graphs here, as `npm start` does. */
function peakMB(): number {
  return Math.round(process.resourceUsage().maxRSS / 1024);
}

function diskBytes({ folder }: BuiltModel): number {
  return readdirSync(folder).reduce((n, file) => n + statSync(join(folder, file)).size, 0);
}

function mega(bytes: number): number {
  return Math.round(bytes / 1e6);
}
