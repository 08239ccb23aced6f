import { basename } from "node:path";
import { type BuiltModel, ModelError, type Precision, precisions, prepareModel } from "@florence/model";
import { type CliConfig, cacheFolder } from "./config.ts";
import { UsageError } from "./failure.ts";
import { checkpointFolder } from "./hub.ts";
import { Progress } from "./progress.ts";

/** Checks a --precision. */
export function parsePrecision(value: string): Precision {
  const found = precisions.find((precision) => precision === value);
  if (!found) throw new UsageError(`--precision must be one of ${precisions.join(", ")}, not ${value}.`);
  return found;
}

/** The model to serve, built into the cache first if need be, with progress on stderr. */
export async function loadModel(model: string, config: CliConfig, precision?: Precision): Promise<BuiltModel> {
  return prepareModel(await checkpointFolder(model), {
    cacheFolder: cacheFolder(config.cache),
    cacheBytesMax: config.cacheBytesMax,
    progress: new Progress(`Building ${basename(model)}`).update,
    ...(precision && { precision }),
  });
}

/** Refuses a variant that failed its own verification, and warns on one that was never verified. */
export function checkVerified({ manifest }: BuiltModel, allowUnverified: boolean): void {
  const { precision, verification, name } = manifest;
  if (precision === "fp32" || allowUnverified) return;
  if (!verification) {
    process.stderr.write(`warning: ${name} in ${precision} was never compared with fp32: run florence verify.\n`);
  } else if (!verification.passed) {
    throw new ModelError(
      "build_failed_verification",
      `${name} in ${precision} failed its verification (answers equal ${percent(verification.equalAnswers)}, overlap ${percent(verification.meanIou)}): use another precision, or --allow-unverified.`,
    );
  }
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}
