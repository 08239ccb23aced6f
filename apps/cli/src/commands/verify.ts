import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  cacheFolder,
  imageTypeOf,
  type Manifest,
  prepareModel,
  readManifest,
  type Verification,
  writeManifest,
} from "@florence/model";
import { cpu } from "@florence/model/inference";
import { gate, readGoldens, type Sample, verifyVariant } from "@florence/model/verify";
import { Progress } from "@florence/node";
import type { Command } from "commander";
import { addCheckpointFlags, type CheckpointFlags, openOptions } from "../checkpoint-flags.ts";
import { readSettings } from "../config.ts";
import { UsageError } from "../failure.ts";
import { checkpointFolder } from "../hub.ts";
import { percent } from "../model.ts";

interface VerifyFlags extends CheckpointFlags {
  readonly checkpoint?: string;
  readonly goldens?: string;
  readonly images?: string;
  readonly json?: boolean;
}

export function configureVerify(command: Command): void {
  addCheckpointFlags(command)
    .argument("<folder>", "built folder")
    .requiredOption("--checkpoint <folder>", "the checkpoint that it was built from: a folder, or a hub's owner/name")
    .option("--goldens <file>", "JSON with cases of image, task and input; the images lie beside it")
    .option("--images <folder>", "images to compare on; the demo images unless given")
    .option("--json", "print JSON")
    .action(verify);
}

async function verify(folder: string, flags: VerifyFlags): Promise<void> {
  const { model } = readSettings();
  const builds = { cacheFolder: cacheFolder(model), cacheBytesMax: model.cacheBytesMax };
  const variant = await prepareModel(folder, builds);
  const progress = new Progress(`Building ${flags.checkpoint}`).update;
  const reference = await prepareModel(await checkpointFolder(flags.checkpoint as string), {
    ...builds,
    ...openOptions(flags),
    precision: "fp32",
    progress,
  });
  if (reference.manifest.digest !== variant.manifest.digest)
    throw new UsageError(`${folder} was not built from ${flags.checkpoint}: the weights differ.`);
  const verification = await verifyVariant(variant, reference, {
    samples: readSamples(flags),
    device: cpu(),
    progress: new Progress("Comparing").update,
  });
  await writeManifest(folder, { ...readManifest(folder), verification });
  process.stdout.write(
    flags.json ? `${JSON.stringify(verification, null, 2)}\n` : table(variant.manifest, verification),
  );
  if (!verification.passed) process.exitCode = 1;
}

function readSamples(flags: VerifyFlags): Sample[] {
  if (flags.goldens) return readGoldens(flags.goldens);
  const folder = flags.images ?? fileURLToPath(new URL("../../../../models/demo", import.meta.url));
  const images = readdirSync(folder)
    .sort()
    .map((name) => join(folder, name))
    .filter((file) => /\.(png|jpe?g|webp|gif)$/i.test(file))
    .map((file) => readFileSync(file))
    .filter((bytes) => imageTypeOf(bytes) !== undefined);
  if (images.length === 0) throw new UsageError(`${folder} holds no images.`);
  return images.map((image) => ({ image }));
}

function table({ name, precision, files }: Manifest, v: Verification): string {
  const bytes = Object.values(files).reduce((n, file) => n + file.bytes, 0);
  const rows = [
    ["size on disk", `${(bytes / 1e6).toFixed(1)} MB`, ""],
    ["features cosine, mean", v.featuresCosine.mean.toFixed(5), `at least ${gate.featuresCosineMean}`],
    ["features cosine, least", v.featuresCosine.min.toFixed(5), ""],
    ["tokens all equal", percent(v.equalTokens), ""],
    ["answers equal", percent(v.equalAnswers), `at least ${percent(gate.equalAnswers)}`],
    ["overlap of regions", percent(v.meanIou), `at least ${percent(gate.meanIou)}`],
  ];
  const lines = rows.map(([what, value, wanted]) =>
    `  ${(what as string).padEnd(24)} ${(value as string).padStart(10)}  ${wanted}`.trimEnd(),
  );
  return [
    `${name}, ${precision}, against fp32 on ${v.images} images, ${v.requests} requests: ${v.passed ? "passed" : "FAILED"}`,
    ...lines,
    "",
  ].join("\n");
}
