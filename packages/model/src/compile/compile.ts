import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { checkTokenizer } from "../checkpoint/check-tokenizer.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { tokenizerFiles } from "../checkpoint/files.ts";
import { storedParts } from "../checkpoint/stored-tensor.ts";
import { ModelError } from "../errors.ts";
import { buildDecodeGraph } from "../graphs/decode.ts";
import { buildPromptGraph } from "../graphs/prompt.ts";
import { buildVisionGraph } from "../graphs/vision.ts";
import { digestFiles, digestWeights } from "./digest.ts";
import { buildVersion, type Manifest, manifestName } from "./manifest.ts";
import type { Precision } from "./precision.ts";
import { type BuildOptions, placeWeights } from "./weights-file.ts";

export const graphFiles = { vision: "vision.onnx", prompt: "prompt.onnx", decode: "decode.onnx" } as const;

/**
 * Writes the graphs, weights, tokenizer and manifest of a checkpoint into a new or empty folder. The manifest comes last: a folder
 * without one is no build. Memory stays at the largest tensor. Throws disk_full.
 */
export async function buildInto(
  folder: string,
  checkpoint: Checkpoint,
  precision: Precision,
  options: BuildOptions = {},
): Promise<Manifest> {
  try {
    await mkdir(folder, { recursive: true });
    if ((await readdir(folder)).length > 0) throw new ModelError("option_invalid", `${folder} is not empty.`);
    return await build(folder, checkpoint, precision, options);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== "ENOSPC" && code !== "EDQUOT") throw cause;
    throw new ModelError(
      "disk_full",
      `The disk is full: ${folder} has no room for the ${precision} build of ${checkpoint.name}.`,
      { cause },
    );
  }
}

/**
 * Looks at what opening a checkpoint does not: its tokenizer and every number of its weights. Returns the digest of the files that hold
 * them, and all there is to say about the checkpoint. Throws what checkTokenizer and digestWeights throw.
 */
export async function checkCheckpoint(checkpoint: Checkpoint): Promise<{ digest: string; notes: readonly string[] }> {
  const notes = [...checkpoint.notes, ...(await checkTokenizer(checkpoint))];
  return {
    notes,
    digest: await digestWeights(checkpoint.files, [...checkpoint.tensors.values()].flatMap(storedParts)),
  };
}

async function build(
  folder: string,
  checkpoint: Checkpoint,
  precision: Precision,
  options: BuildOptions,
): Promise<Manifest> {
  const { config } = checkpoint;
  const { digest, notes } = await checkCheckpoint(checkpoint); // what cannot be used is refused before the work, not after it
  const { source, files: weightFiles } = await placeWeights(checkpoint, folder, precision, options);
  await writeFile(join(folder, graphFiles.vision), buildVisionGraph(config, source));
  await writeFile(join(folder, graphFiles.prompt), buildPromptGraph(config, source));
  await writeFile(join(folder, graphFiles.decode), buildDecodeGraph(config, source));
  const copied = tokenizerFiles.filter((file) => existsSync(join(checkpoint.processorFolder, file)));
  for (const file of copied) await copyFile(join(checkpoint.processorFolder, file), join(folder, file));

  const files: Record<string, Manifest["files"][string]> = {};
  for (const name of [...Object.values(graphFiles), ...weightFiles, ...copied]) {
    const file = join(folder, name);
    files[name] = { bytes: (await stat(file)).size, sha256: await digestFiles([file]) };
  }
  const kept = options.keep && { kept: options.keep.source };
  const said = notes.length > 0 ? { notes } : undefined;
  const tasks = checkpoint.tasks.length > 0 ? { tasks: checkpoint.tasks } : undefined;
  const manifest: Manifest = {
    buildVersion,
    name: checkpoint.name,
    digest,
    precision,
    ...kept,
    ...said,
    ...tasks,
    config,
    files,
  };
  await writeManifest(folder, manifest);
  return manifest;
}

export async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  await writeFile(join(folder, manifestName), `${JSON.stringify(manifest, null, 1)}\n`);
}
