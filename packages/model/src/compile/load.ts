import { accessSync, constants, mkdirSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ModelError } from "../errors.ts";
import { type BuiltModel, prepareModel } from "./cache.ts";
import type { ModelSettings } from "./settings.ts";
import type { Progress } from "./weights-file.ts";

/** The checkpoint that comes with the project. */
const shippedModel = fileURLToPath(new URL("../../../../models/florence-2-drawn", import.meta.url));

/** Where loadModel says what people should know of. */
export interface LoadReport {
  /** Gets the name of a checkpoint that is about to be built, and gives what is told of its progress. */
  readonly progress?: (name: string) => Progress;
  readonly warn: (message: string) => void;
}

/**
 * The model that the settings name, built into the cache first if need be. Throws a ModelError: what prepareModel throws, and
 * build_failed_verification for a variant that failed its own verification and is not allowed. Warns of one that was never verified.
 */
export async function loadModel(settings: ModelSettings, { progress, warn }: LoadReport): Promise<BuiltModel> {
  const folder = settings.model ?? shippedModel;
  const model = await prepareModel(folder, {
    cacheFolder: cacheFolder(settings),
    cacheBytesMax: settings.cacheBytesMax,
    processor: settings.processor,
    adapters: settings.adapters?.split(",").filter(Boolean),
    tasks: settings.tasks,
    ...(settings.precision && { precision: settings.precision }),
    ...(progress && { progress: progress(basename(folder)) }),
  });
  for (const note of model.manifest.notes ?? []) warn(note);
  if (!settings.allowUnverified) checkVerified(model, warn);
  return model;
}

/** The folder for builds: the one asked for, the user's own cache, or where that cannot be written, the system's temporary folder. */
export function cacheFolder({ cache, userCache }: Pick<ModelSettings, "cache" | "userCache">): string {
  if (cache) return cache;
  const own = join(userCache ?? join(homedir(), ".cache"), "florence");
  try {
    mkdirSync(own, { recursive: true });
    accessSync(own, constants.W_OK);
    return own;
  } catch {
    return join(tmpdir(), `florence-cache-${process.getuid?.() ?? "user"}`);
  }
}

function checkVerified({ manifest }: BuiltModel, warn: (message: string) => void): void {
  const { precision, verification, name } = manifest;
  if (precision === "fp32") return;
  if (!verification) {
    warn(`${name} in ${precision} was never compared with fp32: run florence verify.`);
  } else if (!verification.passed) {
    const { equalAnswers, meanIou } = verification;
    throw new ModelError(
      "build_failed_verification",
      `${name} in ${precision} failed its verification (answers equal ${percent(equalAnswers)}, overlap ${percent(meanIou)}): use another precision, or --allow-unverified (FLORENCE_ALLOW_UNVERIFIED=true).`,
    );
  }
}

const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
