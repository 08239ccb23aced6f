import { open, readFile, rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

// Someone else unpacks for seconds; a look costs nothing.
const lookMs = 100;

/**
 * Runs `work` while holding a lock file, whose holder is a process. The lock of a dead process is taken over; two that
 * do so at the same moment may both run, so the work must end in one atomic step.
 */
export async function withLock<T>(path: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  while (!(await create(path))) {
    signal.throwIfAborted();
    if (await isAbandoned(path)) await rm(path, { force: true });
    else await sleep(lookMs);
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function create(path: string): Promise<boolean> {
  try {
    const file = await open(path, "wx");
    await file.writeFile(String(process.pid));
    await file.close();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

async function isAbandoned(path: string): Promise<boolean> {
  const pid = Number(await readFile(path, "utf8").catch(() => ""));
  if (!Number.isInteger(pid) || pid <= 0) return false; // Just created, its pid not yet written; or just gone.
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}
