import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { copyFile, mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { buildDecodeGraph } from "../graphs/decode.ts";
import { buildPromptGraph } from "../graphs/prompt.ts";
import { buildVisionGraph } from "../graphs/vision.ts";
import { buildVersion, type Manifest, manifestName } from "./manifest.ts";
import type { Precision } from "./precision.ts";
import { type Progress, placeWeights } from "./weights-file.ts";

export const graphFiles = { vision: "vision.onnx", prompt: "prompt.onnx", decode: "decode.onnx" } as const;

// What a built folder needs beside graphs and weights to stand alone.
const tokenizerFiles = ["tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "added_tokens.json"];

/** Writes the graphs, weights, tokenizer and manifest of a checkpoint into an existing empty folder. */
export async function buildInto(
  folder: string,
  checkpoint: Checkpoint,
  precision: Precision,
  progress?: Progress,
): Promise<Manifest> {
  await mkdir(folder, { recursive: true });
  const digest = await digestFiles(checkpoint.files);
  const { source, files: weightFiles } = await placeWeights(checkpoint, folder, precision, progress);
  const { config } = checkpoint;
  await writeFile(join(folder, graphFiles.vision), buildVisionGraph(config, source));
  await writeFile(join(folder, graphFiles.prompt), buildPromptGraph(config, source));
  await writeFile(join(folder, graphFiles.decode), buildDecodeGraph(config, source));
  const copied = tokenizerFiles.filter((file) => existsSync(join(checkpoint.folder, file)));
  for (const file of copied) await copyFile(join(checkpoint.folder, file), join(folder, file));
  const files: Record<string, number> = {};
  for (const file of [...Object.values(graphFiles), ...weightFiles, ...copied])
    files[file] = (await stat(join(folder, file))).size;
  const manifest: Manifest = { buildVersion, name: checkpoint.name, digest, precision, config, files };
  await writeFile(join(folder, manifestName), `${JSON.stringify(manifest, null, 1)}\n`);
  return manifest;
}

/** sha-256 over the files' bytes in the order given, hex. */
async function digestFiles(files: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const file of files)
    for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) hash.update(chunk);
  return hash.digest("hex");
}
