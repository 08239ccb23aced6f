import { existsSync, readFileSync } from "node:fs";
import { mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ModelName } from "./name.ts";

const isCommit = (text: string): boolean => /^[0-9a-f]{40}$/.test(text);

/** One repository's folder in the cache, in the layout of huggingface_hub: blobs by hash, snapshots that link to them, refs to commits. */
export class RepositoryCache {
  readonly folder: string;
  readonly blobs: string;

  constructor(cache: string, repository: string) {
    this.folder = join(cache, `models--${repository.replace("/", "--")}`);
    this.blobs = join(this.folder, "blobs");
  }

  snapshot(commit: string): string {
    return join(this.folder, "snapshots", commit);
  }

  /** The commit that a revision meant when it was last asked for, as far as this cache knows. */
  commitOf({ revision }: ModelName): string | undefined {
    if (isCommit(revision)) return revision;
    try {
      const commit = readFileSync(join(this.folder, "refs", revision), "utf8").trim();
      return isCommit(commit) ? commit : undefined;
    } catch {
      return undefined;
    }
  }

  /** Lets a snapshot's file name lead to a blob. Atomic, and the same however many processes do it. */
  async link(commit: string, file: string, etag: string): Promise<void> {
    const path = join(this.snapshot(commit), file);
    await mkdir(dirname(path), { recursive: true });
    const fresh = `${path}.${process.pid}.link`;
    await rm(fresh, { force: true });
    try {
      await symlink(join("..", "..", "blobs", etag), fresh);
    } catch (error) {
      // Where links are not allowed the file itself stands in the snapshot, as huggingface_hub does it there.
      if ((error as NodeJS.ErrnoException).code !== "EPERM") throw error;
      return rename(join(this.blobs, etag), path);
    }
    await rename(fresh, path);
  }

  /** Remembers which commit a branch or tag is. */
  async point({ revision }: ModelName, commit: string): Promise<void> {
    if (isCommit(revision)) return;
    const path = join(this.folder, "refs", revision);
    await mkdir(dirname(path), { recursive: true });
    const fresh = `${path}.${process.pid}.ref`;
    await writeFile(fresh, commit);
    await rename(fresh, path);
  }
}

/** Whether a folder holds a model's config and all of its weights. */
export function hasModel(folder: string): boolean {
  const has = (file: string) => existsSync(join(folder, file));
  return (
    has("config.json") &&
    ["model.safetensors", "pytorch_model.bin"].some((file) => has(file) || hasShards(folder, file))
  );
}

/** Whether it also holds what reads images and prompts, so that no hub needs to be asked for more. */
export function hasEverything(folder: string): boolean {
  const has = (file: string) => existsSync(join(folder, file));
  const tokenizer = has("tokenizer.json") || (has("vocab.json") && has("merges.txt"));
  return hasModel(folder) && tokenizer && (has("preprocessor_config.json") || has("processor_config.json"));
}

function hasShards(folder: string, file: string): boolean {
  try {
    const { weight_map } = JSON.parse(readFileSync(join(folder, `${file}.index.json`), "utf8"));
    const shards = new Set(Object.values<string>(weight_map));
    return shards.size > 0 && [...shards].every((shard) => existsSync(join(folder, shard)));
  } catch {
    return false;
  }
}
