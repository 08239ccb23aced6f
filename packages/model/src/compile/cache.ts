import { createHash, randomUUID } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { mkdir, readdir, rename, rm, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { type Checkpoint, type OpenOptions, openCheckpoint } from "../checkpoint/checkpoint.ts";
import { ModelError } from "../errors.ts";
import { buildInto } from "./compile.ts";
import { buildVersion, checkFiles, type Manifest, manifestName, readManifest } from "./manifest.ts";
import type { Precision } from "./precision.ts";
import type { Progress } from "./weights-file.ts";

/** A folder that can be served: graphs, weights, tokenizer, manifest. */
export interface BuiltModel {
  readonly folder: string;
  readonly manifest: Manifest;
}

export interface PrepareOptions extends OpenOptions {
  readonly precision?: Precision;
  /** Where raw checkpoints are built into. */
  readonly cacheFolder: string;
  /** Builds not used for longest are removed when the cache grows past this. */
  readonly cacheBytesMax?: number;
  readonly progress?: Progress;
}

const GiB = 1024 ** 3;
// Three precisions of base and of large, with room for fine-tunes.
const cacheBytesMaxDefault = 20 * GiB;

/**
 * Makes a folder ready to be served: a built one is taken as it is, a raw checkpoint is built into the cache first. Every file is
 * compared with its manifest: a built folder that does not match is refused (build_corrupt), a cached one is built again.
 * Two processes may prepare the same checkpoint at once: each builds beside the cache and the first rename wins.
 */
export async function prepareModel(folder: string, options: PrepareOptions): Promise<BuiltModel> {
  const root = resolve(folder);
  if (existsSync(join(root, manifestName))) return readBuilt(root, options);
  const precision = options.precision ?? "fp32";
  const checkpoint = openCheckpoint(folder, options);
  const { cacheFolder } = options;
  const target = join(cacheFolder, `${checkpoint.name.replaceAll("/", "--")}-${precision}-${fingerprint(checkpoint)}`);
  const cached = await readCached(target);
  if (cached) return cached;

  await mkdir(cacheFolder, { recursive: true });
  await removeAbandoned(cacheFolder);
  const work = join(cacheFolder, `.building-${hostname()}-${process.pid}-${randomUUID()}`);
  try {
    const manifest = await buildInto(work, checkpoint, precision, { progress: options.progress });
    try {
      await rename(work, target);
    } catch (error) {
      if (!existsSync(join(target, manifestName))) throw error; // else another process was first
    }
    await trimCache(cacheFolder, options.cacheBytesMax ?? cacheBytesMaxDefault, target);
    return { folder: target, manifest };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function readBuilt(
  folder: string,
  { precision, processor, adapters, tasks }: PrepareOptions,
): Promise<BuiltModel> {
  const manifest = readManifest(folder);
  if (processor !== undefined || tasks !== undefined || (adapters && adapters.length > 0))
    throw new ModelError(
      "option_invalid",
      `${folder} is built already: a processor, tasks or an adapter go with the checkpoint itself.`,
    );
  if (precision !== undefined && precision !== manifest.precision) {
    throw new ModelError(
      "option_invalid",
      `${folder} was built in ${manifest.precision}, not ${precision}: give the checkpoint itself.`,
    );
  }
  await checkFiles(folder, manifest);
  return { folder, manifest };
}

/** A cached build that is whole; what is not is removed, so that it is built anew. */
async function readCached(target: string): Promise<BuiltModel | undefined> {
  if (!existsSync(target)) return undefined;
  try {
    const manifest = readManifest(target);
    await checkFiles(target, manifest);
    const now = new Date();
    await utimes(target, now, now); // says when it was last used
    return { folder: target, manifest };
  } catch {
    await rm(target, { recursive: true, force: true });
    return undefined;
  }
}

/** Changes whenever a file of the checkpoint is replaced or edited, or the builder's output changes. */
function fingerprint(checkpoint: Checkpoint): string {
  const hash = createHash("sha256").update(`${buildVersion}\n${checkpoint.folder}\n`);
  for (const file of [...checkpoint.files, ...checkpoint.settings]) {
    const info = statSync(file, { throwIfNoEntry: false });
    hash.update(`${file} ${info?.size} ${info?.mtimeMs} ${info?.ino}\n`);
  }
  return hash.digest("hex").slice(0, 16);
}

// No build takes a day; one of another machine that shares the folder is left alone until then.
const abandonedMs = 24 * 3_600_000;

/** Removes what builds left behind whose process has died. */
async function removeAbandoned(cache: string): Promise<void> {
  for (const entry of await readdir(cache)) {
    const [, host, pid] = /^\.building-(.+)-(\d+)-[0-9a-f-]{36}$/.exec(entry) ?? [];
    if (host === undefined) continue;
    const age = Date.now() - (statSync(join(cache, entry), { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    const died = host === hostname() && !isAlive(Number(pid));
    if (died || age > abandonedMs) await rm(join(cache, entry), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // someone else's process
  }
}

/** One build in the cache. */
export interface CacheEntry {
  readonly folder: string;
  readonly bytes: number;
  readonly usedAt: Date;
}

/** The builds in a cache folder, least recently used first. */
export async function listCache(cache: string): Promise<CacheEntry[]> {
  const entries: CacheEntry[] = [];
  for (const name of await readdir(cache).catch(() => [])) {
    const folder = join(cache, name);
    if (!existsSync(join(folder, manifestName)) || name.startsWith(".")) continue;
    const sizes = (await readdir(folder)).map(
      (file) => statSync(join(folder, file), { throwIfNoEntry: false })?.size ?? 0,
    );
    entries.push({ folder, bytes: sizes.reduce((n, s) => n + s, 0), usedAt: statSync(folder).mtime });
  }
  return entries.sort((a, b) => a.usedAt.getTime() - b.usedAt.getTime());
}

/** Removes every build, finished or not. Returns how many bytes that were. */
export async function clearCache(cache: string): Promise<number> {
  const entries = await listCache(cache);
  for (const { folder } of entries) await rm(folder, { recursive: true, force: true });
  await removeAbandoned(cache).catch(() => {});
  return entries.reduce((n, { bytes }) => n + bytes, 0);
}

async function trimCache(cache: string, bytesMax: number, keep: string): Promise<void> {
  const entries = await listCache(cache);
  let bytes = entries.reduce((n, entry) => n + entry.bytes, 0);
  for (const entry of entries) {
    if (bytes <= bytesMax) return;
    if (entry.folder === keep) continue;
    await rm(entry.folder, { recursive: true, force: true });
    bytes -= entry.bytes;
  }
}
