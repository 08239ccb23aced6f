import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ModelConfig } from "../checkpoint/config.ts";
import { ModelError } from "../errors.ts";
import type { Precision } from "./precision.ts";

/** Raised when built files change their meaning: graphs' inputs, weights' placement or this manifest. */
export const buildVersion = 3;
export const manifestName = "florence.json";

/** What a built folder is (florence.json). */
export interface Manifest {
  readonly buildVersion: number;
  readonly name: string;
  /** sha-256 over the checkpoint's weight files, hex. */
  readonly digest: string;
  readonly precision: Precision;
  readonly config: ModelConfig;
  /** Size in bytes of every file of the folder. */
  readonly files: Readonly<Record<string, number>>;
}

export function readManifest(folder: string): Manifest {
  let manifest: Manifest;
  try {
    manifest = JSON.parse(readFileSync(join(folder, manifestName), "utf8"));
  } catch (cause) {
    throw new ModelError("checkpoint_config_invalid", `${manifestName} in the built folder cannot be read.`, { cause });
  }
  if (manifest.buildVersion !== buildVersion) {
    throw new ModelError(
      "checkpoint_config_invalid",
      `The folder was built by another version (${manifest.buildVersion}, not ${buildVersion}): build it again.`,
    );
  }
  return manifest;
}
