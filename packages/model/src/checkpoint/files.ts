import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { ModelError } from "../errors.ts";

/** A JSON object as it was read: nothing of it is checked yet. */
export type Json = Record<string, unknown>;

/** The files of a tokenizer, in the folder that holds the processor. A built folder holds copies of them. */
export const tokenizerFiles = [
  "tokenizer.json",
  "tokenizer_config.json",
  "vocab.json",
  "merges.txt",
  "added_tokens.json",
] as const;

/** The files that say how images are prepared; the second holds the first inside it where transformers 5 wrote it. */
export const imageProcessorFiles = ["preprocessor_config.json", "processor_config.json"] as const;

/** What comes with the weights. */
export const modelFiles = ["config.json", "generation_config.json", "tasks.json"] as const;

/**
 * Every file beside the weights that a checkpoint is made of: what is fetched from a hub, what is read, what a build is made anew for when it changes. A file that
 * is not named here is never opened.
 */
export const settingsFiles: readonly string[] = [...modelFiles, ...imageProcessorFiles, ...tokenizerFiles];

// The largest known is a tokenizer.json of 3 MB.
const settingsBytesMax = 64 * 1024 * 1024;

/** The JSON object in a checkpoint's file; undefined where there is no such file. Throws checkpoint_config_invalid. */
export function readJson(folder: string, file: string): Json | undefined {
  const text = readText(folder, file);
  if (text === undefined) return undefined;
  try {
    const json: unknown = JSON.parse(text);
    if (typeof json === "object" && json !== null && !Array.isArray(json)) return json as Json;
  } catch (cause) {
    throw new ModelError("checkpoint_config_invalid", `${basename(file)} is not valid JSON.`, { cause });
  }
  throw new ModelError("checkpoint_config_invalid", `${basename(file)} does not hold a JSON object.`);
}

/** The text of a checkpoint's file; undefined where there is no such file. */
export function readText(folder: string, file: string): string | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(join(folder, file));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new ModelError("checkpoint_file_missing", `${basename(file)} of the checkpoint cannot be read.`, { cause });
  }
  if (bytes.length > settingsBytesMax)
    throw new ModelError(
      "checkpoint_config_invalid",
      `${basename(file)} has ${bytes.length} bytes: that is no settings file.`,
    );
  if (isLfsPointer(bytes)) throw lfsPointer(file);
  return bytes.toString("utf8");
}

const lfsBeginning = "version https://git-lfs.github.com/spec/";

/** Whether a file's first bytes are those of a Git LFS pointer. */
export function isLfsPointer(start: Uint8Array): boolean {
  return Buffer.from(start.subarray(0, lfsBeginning.length)).toString("latin1") === lfsBeginning;
}

export function lfsPointer(file: string): ModelError {
  return new ModelError(
    "checkpoint_file_missing",
    `${basename(file)} is a Git LFS pointer, not the file itself: fetch the file with git lfs pull in the folder's clone.`,
  );
}
