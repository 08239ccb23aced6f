import { randomUUID } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { sleep } from "@florence/service";

/** A file of this process alone that a download is written into. */
export interface Part extends Disposable {
  readonly path: string;
}

interface Found {
  readonly path: string;
  readonly bytes: number;
  readonly live: boolean;
}

// A process that downloads lets no such time pass without a byte: it has given up by then.
const silentMsMax = 5 * 60_000;
// Another process's download that has stood still this long is no longer waited for: fetching it twice is only a waste.
const waitMsMax = 60_000;
const lookMs = 500; // Often enough for progress to look like it.

// The parts that this process writes into at this moment.
const own = new Set<string>();

/**
 * A part for a blob: what a process that has died left of it, or a new one. While another process is downloading the same blob this waits
 * for it, so the blob may be there in the end. Names say whose a part is, so no two processes ever write into one.
 */
export async function claimPart(blobs: string, etag: string, onBytes: (bytes: number) => void): Promise<Part> {
  await mkdir(blobs, { recursive: true });
  const path = join(blobs, `${etag}.${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}.incomplete`);
  const part = { path, [Symbol.dispose]: () => void own.delete(path) };
  let watched = { bytes: -1, since: Date.now() };
  for (;;) {
    const found = await findParts(blobs, etag);
    const live = found.find((other) => other.live);
    if (live && !existsSync(join(blobs, etag))) {
      if (live.bytes !== watched.bytes) watched = { bytes: live.bytes, since: Date.now() };
      if (Date.now() - watched.since < waitMsMax) {
        onBytes(live.bytes);
        await sleep(lookMs);
        continue;
      }
    }
    own.add(path);
    const [longest, ...rest] = found.filter((other) => !other.live).sort((a, b) => b.bytes - a.bytes);
    for (const other of rest) await rm(other.path, { force: true });
    if (!longest || (await moved(longest.path, path))) return part;
    own.delete(path); // Another process took it first: look again.
  }
}

/** How many bytes of a blob an earlier download has left, or another process has so far. */
export async function partBytes(blobs: string, etag: string): Promise<number> {
  return Math.max(0, ...(await findParts(blobs, etag)).map(({ bytes }) => bytes));
}

async function moved(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

async function findParts(blobs: string, etag: string): Promise<Found[]> {
  return (await readdir(blobs)).flatMap((name) => {
    const [, hash, host, pid] = /^(\w+)\.(.+)-(\d+)-[0-9a-f]{8}\.incomplete$/.exec(name) ?? [];
    if (hash !== etag || host === undefined) return [];
    const path = join(blobs, name);
    const info = statSync(path, { throwIfNoEntry: false });
    if (!info) return [];
    const recent = Date.now() - info.mtimeMs < silentMsMax;
    // Whether a process of another machine still runs cannot be known, nor whose a number that came round again is: there the time decides.
    const live = recent && (host !== hostname() || isRunning(Number(pid), path));
    return [{ path, bytes: info.size, live }];
  });
}

function isRunning(pid: number, path: string): boolean {
  // In a container that was started again we may have the number of the one that died.
  if (pid === process.pid) return own.has(path);
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // someone else's process
  }
}
