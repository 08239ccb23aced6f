import { existsSync, statSync } from "node:fs";
import { mkdir, statfs } from "node:fs/promises";
import { join } from "node:path";
import { hasEverything, hasModel, RepositoryCache } from "./cache.ts";
import type { HubSettings } from "./config.ts";
import { type HubAnswer, HubConnection } from "./connection.ts";
import { download, megabytes, type RemoteFile } from "./download.ts";
import { fromFileError, HubError, Transient } from "./error.ts";
import type { ModelName } from "./name.ts";
import { partBytes } from "./parts.ts";
import { refuse } from "./refusal.ts";
import { retried } from "./retry.ts";

/** A checkpoint in the cache. */
export interface HubModel {
  readonly folder: string;
  /** owner/name */
  readonly name: string;
  readonly commit: string;
}

/** What a pull is about to do. */
export interface PullPlan {
  readonly name: string;
  readonly commit: string;
  readonly folder: string;
  readonly files: number;
  readonly bytes: number;
  /** Of those, the bytes that are not here yet. */
  readonly missingBytes: number;
}

export interface PullOptions {
  readonly settings: HubSettings;
  /** Of a repository's files those that are needed; none where it is no checkpoint. */
  readonly choose: (names: readonly string[]) => readonly string[];
  /** Told what will be done, before the first byte is downloaded. */
  readonly onPlan?: (plan: PullPlan) => void;
  /** Told how many of the missing bytes have come. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** The checkpoint that a name means: from the cache if it is there, else from the hub. Throws a HubError. */
export async function findModel(name: ModelName, options: PullOptions): Promise<HubModel> {
  const cached = cachedModel(name, options.settings);
  if (cached && hasEverything(cached.folder)) return cached;
  try {
    return await pullModel(name, options);
  } catch (error) {
    // A repository may have weights and no more; what is here then has to do.
    if (cached && error instanceof HubError && error.code === "hub_unreachable") return cached;
    throw error;
  }
}

/** The newest state of a checkpoint, downloaded from the hub as far as it is not in the cache. Throws a HubError. */
export async function pullModel(name: ModelName, options: PullOptions): Promise<HubModel> {
  const { settings, choose } = options;
  if (settings.offline) {
    const cached = cachedModel(name, settings);
    if (cached) return cached;
    throw new HubError(
      "hub_offline",
      `${label(name)} is not in ${settings.cache}, and HF_HUB_OFFLINE forbids to fetch it: copy it there, or unset that.`,
    );
  }
  const cache = new RepositoryCache(settings.cache, name.repository);
  using hub = new HubConnection(settings);
  try {
    const { commit, names } = await listFiles(hub, name, settings, choose);
    const files = await Promise.all(names.map((file) => locate(hub, cache, name, commit, file, settings)));
    await fetchMissing(hub, cache, name, commit, files, options);
    return { folder: cache.snapshot(commit), name: name.repository, commit };
  } catch (error) {
    if (error instanceof Transient)
      throw new HubError(
        "hub_unreachable",
        `${label(name)} cannot be fetched: ${settings.endpoint} cannot be reached (${error.message}).`,
        { cause: error },
      );
    throw fromFileError(error, settings.cache);
  }
}

function cachedModel(name: ModelName, { cache }: HubSettings): HubModel | undefined {
  const repository = new RepositoryCache(cache, name.repository);
  const commit = repository.commitOf(name);
  if (commit === undefined || !hasModel(repository.snapshot(commit))) return undefined;
  return { folder: repository.snapshot(commit), name: name.repository, commit };
}

/** The commit that the revision is at this moment, and which of its files are needed. */
async function listFiles(hub: HubConnection, name: ModelName, settings: HubSettings, choose: PullOptions["choose"]) {
  const path = `/api/models/${name.repository}/revision/${encodeURIComponent(name.revision)}`;
  const { sha, siblings } = await retried(async () => {
    const answer = await hub.json(path);
    if (answer.status !== 200) refuse(answer, name, settings);
    return (answer.value ?? {}) as { sha?: unknown; siblings?: { rfilename?: unknown }[] };
  });
  if (typeof sha !== "string" || !/^[0-9a-f]{40}$/.test(sha) || !Array.isArray(siblings))
    throw new HubError(
      "hub_answer_invalid",
      `${settings.endpoint} does not answer as a hub does: is HF_ENDPOINT right?`,
    );
  const names = choose(siblings.map(({ rfilename }) => String(rfilename)));
  if (names.length === 0)
    throw new HubError(
      "checkpoint_file_missing",
      `${label(name)} is no checkpoint: it has no config.json with model.safetensors or pytorch_model.bin beside it.`,
    );
  return { commit: sha, names };
}

interface Located extends RemoteFile {
  /** Whether the snapshot has the file already. */
  readonly linked: boolean;
}

/** Where a file of a commit is, how large, and what proves it. */
async function locate(
  hub: HubConnection,
  cache: RepositoryCache,
  name: ModelName,
  commit: string,
  file: string,
  settings: HubSettings,
): Promise<Located> {
  const path = `/${name.repository}/resolve/${commit}/${encodeURIComponent(file)}`;
  const here = statSync(join(cache.snapshot(commit), file), { throwIfNoEntry: false });
  if (here) return { name: file, path, bytes: here.size, etag: "", linked: true };
  const headers = await retried(async () => {
    const answer = await hub.head(path);
    if (answer.status >= 400) refuse(answer, name, settings);
    return answer.headers;
  });
  const etag = String(headers["x-linked-etag"] ?? headers.etag ?? "").replace(/^W\/|"/g, "");
  const bytes = Number(headers["x-linked-size"] ?? headers["content-length"] ?? Number.NaN);
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag) || !Number.isSafeInteger(bytes))
    throw new HubError(
      "hub_answer_invalid",
      `${settings.endpoint} names no size and checksum of ${file}: is it a hub, and HF_ENDPOINT right?`,
    );
  return { name: file, path, bytes, etag, linked: false };
}

/** Downloads what is missing; when all of it is here, lets the snapshot and then the branch or tag lead to it. */
async function fetchMissing(
  hub: HubConnection,
  cache: RepositoryCache,
  name: ModelName,
  commit: string,
  files: readonly Located[],
  { settings, onPlan, onProgress }: PullOptions,
): Promise<void> {
  const unlinked = files.filter((file) => !file.linked);
  const missing = unlinked.filter(({ etag }) => !existsSync(join(cache.blobs, etag)));
  const total = sum(missing);
  onPlan?.({
    name: name.repository,
    commit,
    folder: cache.snapshot(commit),
    files: files.length,
    bytes: sum(files),
    missingBytes: total,
  });
  if (missing.length > 0) await checkRoom(cache.blobs, missing);
  let done = 0;
  for (const file of missing) {
    await download(hub, file, cache.blobs, {
      refuse: (answer: Pick<HubAnswer, "status" | "headers">) => refuse(answer, name, settings),
      onBytes: (bytes) => onProgress?.(done + bytes, total),
    });
    done += file.bytes;
    onProgress?.(done, total);
  }
  for (const { name: file, etag } of unlinked) await cache.link(commit, file, etag);
  if (cache.commitOf(name) !== commit) await cache.point(name, commit);
}

/** Says at once what would otherwise be known after an hour of downloading. */
async function checkRoom(folder: string, files: readonly RemoteFile[]): Promise<void> {
  await mkdir(folder, { recursive: true });
  let bytes = sum(files);
  for (const { etag } of files) bytes -= await partBytes(folder, etag);
  const { blocks, bavail, bsize } = await statfs(folder);
  // Some network drives know of no blocks at all.
  if (blocks > 0 && bavail * bsize < bytes)
    throw new HubError(
      "disk_full",
      `${megabytes(bytes)} MB are to come, and there is room for ${megabytes(bavail * bsize)} in ${folder}: free some, or point HF_HOME elsewhere.`,
    );
}

const sum = (files: readonly { bytes: number }[]): number => files.reduce((n, { bytes }) => n + bytes, 0);

const label = ({ repository, revision }: ModelName): string =>
  revision === "main" ? repository : `${repository}@${revision}`;
