import { createHash } from "node:crypto";
import { createReadStream, existsSync, statSync } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { HubAnswer, HubConnection } from "./connection.ts";
import { HubError, Transient } from "./error.ts";
import { claimPart } from "./parts.ts";
import { attemptsMax, waitBefore } from "./retry.ts";

/** A file on a hub. */
export interface RemoteFile {
  readonly name: string;
  /** Its path on the hub, at one commit. */
  readonly path: string;
  readonly bytes: number;
  /** What the hub calls its content: the sha-256 of a large file, git's sha-1 of a small one. It names the blob, and proves it. */
  readonly etag: string;
}

export interface DownloadOptions {
  /** Throws what an answer means that is no success. */
  readonly refuse: (answer: Pick<HubAnswer, "status" | "headers">) => never;
  /** Told how many of the file's bytes are here. */
  readonly onBytes: (bytes: number) => void;
}

// An attempt that brought this much was worth making, and the next counts as the first again: a poor line gets large files too.
const worthwhileBytesMin = 1024 * 1024;

/**
 * Puts a file's content into the folder of blobs, going on from where an earlier download of it was cut off. What has not been proved
 * by its hash never has the blob's name.
 */
export async function download(
  hub: HubConnection,
  file: RemoteFile,
  blobs: string,
  options: DownloadOptions,
): Promise<void> {
  const target = join(blobs, file.etag);
  using part = await claimPart(blobs, file.etag, (bytes) => options.onBytes(Math.min(bytes, file.bytes)));
  if (existsSync(target)) return; // Another process brought it while we waited.
  try {
    const resumed = await fill(hub, file, part.path, options);
    if (!(await isProved(part.path, file))) {
      // What was kept of a download that broke off may be what is wrong: once more, from the start.
      await rm(part.path, { force: true });
      if (resumed) await fill(hub, file, part.path, options);
      if (!resumed || !(await isProved(part.path, file)))
        throw new HubError(
          "hub_checksum_wrong",
          `${file.name} arrived with another checksum than the hub names (${file.etag}): a proxy or a mirror may have changed it.`,
        );
    }
    await rename(part.path, target);
  } catch (error) {
    // What was interrupted is kept for the next attempt; what is wrong is of no use, and a full disk is everyone's trouble.
    const interrupted = error instanceof HubError && error.code === "hub_interrupted";
    if (!interrupted) await rm(part.path, { force: true });
    throw error;
  }
}

/** Appends to a part until it has all bytes. Returns whether they came in more than one answer. */
async function fill(hub: HubConnection, file: RemoteFile, path: string, options: DownloadOptions): Promise<boolean> {
  await using handle = await open(path, "a");
  let bytes = (await handle.stat()).size;
  let resumed = false;
  for (let failures = 0; bytes < file.bytes; ) {
    const before = bytes;
    resumed ||= bytes > 0;
    try {
      for await (const arrived of receive(hub, file, handle, bytes, options)) {
        bytes = arrived;
        options.onBytes(Math.min(bytes, file.bytes));
      }
      if (bytes < file.bytes) throw new Transient("it ended early");
    } catch (error) {
      if (!(error instanceof Transient)) throw error;
      failures = bytes - before >= worthwhileBytesMin ? 1 : failures + 1;
      if (failures === attemptsMax)
        throw new HubError(
          "hub_interrupted",
          `${file.name} was cut off again and again (${error.message}): ${megabytes(bytes)} of ${megabytes(file.bytes)} MB are kept, and the next pull goes on from there.`,
          { cause: error },
        );
      await waitBefore(failures, error);
    }
  }
  return resumed;
}

/** One request for the bytes from `from` on. Yields how many the part has after each piece. */
async function* receive(
  hub: HubConnection,
  file: RemoteFile,
  handle: FileHandle,
  from: number,
  { refuse }: DownloadOptions,
): AsyncGenerator<number> {
  const answer = await hub.open(file.path, from);
  let bytes = from;
  if (answer.status !== 206 || startOf(answer) !== from) {
    if (answer.status !== 200) answer.discard();
    // It has no such range: what is kept is of another file.
    if (answer.status === 206 || answer.status === 416) {
      await handle.truncate(0);
      throw new Transient("the hub has no such range");
    }
    if (answer.status !== 200) refuse(answer);
    await handle.truncate(0); // This server cannot go on from somewhere.
    bytes = 0;
  }
  for await (const piece of answer.body) {
    await handle.appendFile(piece);
    bytes += piece.length;
    yield bytes;
    if (bytes > file.bytes) return; // More than was announced: the checksum will tell.
  }
}

function startOf({ headers }: HubAnswer): number | undefined {
  const [, start] = /^bytes (\d+)-/.exec(headers["content-range"] ?? "") ?? [];
  return start === undefined ? undefined : Number(start);
}

async function isProved(path: string, { bytes, etag }: RemoteFile): Promise<boolean> {
  if (statSync(path).size !== bytes) return false;
  const hash = etag.length === 64 ? createHash("sha256") : createHash("sha1").update(`blob ${bytes}\0`);
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash);
  return hash.digest("hex") === etag;
}

export const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
