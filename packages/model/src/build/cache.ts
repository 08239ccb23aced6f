import { createHash, randomUUID } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.ts";
import { buildInto } from "./build.ts";
import { buildVersion, type Manifest, manifestName, readManifest } from "./manifest.ts";
import type { Precision } from "./precision.ts";
import type { Progress } from "./weights-file.ts";

/** A folder that can be served: graphs, weights, tokenizer, manifest. */
export interface BuiltModel {
  readonly folder: string;
  readonly manifest: Manifest;
}

export interface PrepareOptions {
  readonly precision?: Precision;
  /** Where raw checkpoints are built into. */
  readonly cacheFolder: string;
  readonly progress?: Progress;
}

// A build of the largest known checkpoint takes minutes; what is older was left by a process that died.
const abandonedAfterMs = 60 * 60 * 1000;

/**
 * Makes a folder ready to be served: a built one is taken as it is, a raw checkpoint is built into the cache first.
 * Two processes may prepare the same checkpoint at once: each builds beside the cache and the first rename wins.
 */
export async function prepareModel(folder: string, options: PrepareOptions): Promise<BuiltModel> {
  const root = resolve(folder);
  if (existsSync(join(root, manifestName))) return { folder: root, manifest: readManifest(root) };
  const precision = options.precision ?? "fp32";
  const checkpoint = openCheckpoint(root);
  const cache = options.cacheFolder;
  const target = join(cache, `${checkpoint.name}-${precision}-${fingerprint(checkpoint)}`);
  if (existsSync(join(target, manifestName))) return { folder: target, manifest: readManifest(target) };

  await mkdir(cache, { recursive: true });
  await removeAbandoned(cache);
  const work = join(cache, `.building-${process.pid}-${randomUUID()}`);
  try {
    const manifest = await buildInto(work, checkpoint, precision, options.progress);
    try {
      await rename(work, target);
    } catch (error) {
      if (!existsSync(join(target, manifestName))) throw error; // else another process was first
    }
    return { folder: target, manifest };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Changes whenever a file of the checkpoint is replaced or edited, or the builder's output changes. */
function fingerprint(checkpoint: Checkpoint): string {
  const hash = createHash("sha256").update(`${buildVersion}\n${checkpoint.folder}\n`);
  const settings = ["config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json"].map((f) =>
    join(checkpoint.folder, f),
  );
  for (const file of [...checkpoint.files, ...settings]) {
    const info = statSync(file, { throwIfNoEntry: false });
    hash.update(`${basename(file)} ${info?.size} ${info?.mtimeMs}\n`);
  }
  return hash.digest("hex").slice(0, 16);
}

async function removeAbandoned(cache: string): Promise<void> {
  for (const entry of await readdir(cache)) {
    if (!entry.startsWith(".building-")) continue;
    const info = statSync(join(cache, entry), { throwIfNoEntry: false });
    if (info && Date.now() - info.mtimeMs > abandonedAfterMs)
      await rm(join(cache, entry), { recursive: true, force: true });
  }
}
