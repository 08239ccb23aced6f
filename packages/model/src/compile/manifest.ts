import { readFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { ModelConfig } from "../checkpoint/config.ts";
import { ModelError } from "../errors.ts";
import { type TaskRow, tasks } from "../tasks.ts";
import { digestFiles } from "./digest.ts";
import type { Precision } from "./precision.ts";

/** Raised when built files change their meaning: graphs' inputs, weights' placement or this manifest. */
export const buildVersion = 10;
export const manifestName = "florence.json";

/** How far a variant's answers are from fp32's, measured on images. */
export interface Verification {
  readonly images: number;
  readonly requests: number;
  /** Cosine between the variant's and fp32's image tokens. */
  readonly featuresCosine: { readonly mean: number; readonly min: number };
  /** Share of requests whose greedy ids are all equal. */
  readonly equalTokens: number;
  /** Share of requests with the same text, or the same labels at boxes that overlap by half or more. */
  readonly equalAnswers: number;
  /** Mean overlap of regions with fp32's; one without a partner counts 0. */
  readonly meanIou: number;
  readonly passed: boolean;
}

/** What a built folder is (florence.json). */
export interface Manifest {
  readonly buildVersion: number;
  readonly name: string;
  /** sha-256 over the checkpoint's weight files and its adapters' files, hex. */
  readonly digest: string;
  readonly precision: Precision;
  /** Pattern of the tensors that stayed float32, where some were to. */
  readonly kept?: string;
  /** What the checkpoint's user may not expect, a sentence each; absent where there is nothing to say. */
  readonly notes?: readonly string[];
  /** The checkpoint's own tasks, beside Florence-2's; absent where there are none. */
  readonly tasks?: readonly TaskRow[];
  readonly config: ModelConfig;
  /** Size in bytes and sha-256, hex, of every other file of the folder. */
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;
  /** Drift figures; absent until `florence verify` has measured them. fp32 has none. */
  readonly verification?: Verification;
}

/** Every task that a built model answers: Florence-2's and the checkpoint's own. */
export function tasksOf(manifest: Pick<Manifest, "tasks">): readonly TaskRow[] {
  return [...tasks, ...(manifest.tasks ?? [])];
}

/** Reads a built folder's manifest. Throws build_corrupt or build_outdated. */
export function readManifest(folder: string): Manifest {
  let manifest: Manifest;
  try {
    manifest = JSON.parse(readFileSync(join(folder, manifestName), "utf8"));
  } catch (cause) {
    throw new ModelError("build_corrupt", `${manifestName} in ${folder} cannot be read: build the checkpoint again.`, {
      cause,
    });
  }
  if (manifest.buildVersion !== buildVersion) {
    throw new ModelError(
      "build_outdated",
      `${folder} was built by another version (${manifest.buildVersion}, not ${buildVersion}): build the checkpoint again.`,
    );
  }
  return manifest;
}

/** Compares every file of a built folder with its manifest. Throws build_corrupt naming the file. */
export async function checkFiles(folder: string, manifest: Manifest): Promise<void> {
  for (const [name, { bytes, sha256 }] of Object.entries(manifest.files)) {
    const file = join(folder, name);
    const info = await stat(file).catch(() => undefined);
    if (info?.size !== bytes) {
      throw new ModelError(
        "build_corrupt",
        `${name} in ${folder} ${info ? `has ${info.size} bytes, not ${bytes}` : "is missing"}: build the checkpoint again.`,
      );
    }
    if ((await digestFiles([file])) !== sha256) {
      throw new ModelError(
        "build_corrupt",
        `${name} in ${folder} was changed after the build: build the checkpoint again.`,
      );
    }
  }
}
