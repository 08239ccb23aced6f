import { readFileSync } from "node:fs";

// Pages of Linux on every processor that Node runs on in servers.
const pageBytes = 4096;

/** Resident memory of a process, in bytes; 0 where it cannot be known: the process has ended, or the system is no Linux. */
export function residentBytes(pid: number | undefined): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * pageBytes;
  } catch {
    return 0;
  }
}

// Memory that is being filled grows by some gigabytes a second: within this time by less than a hundred megabytes.
const watchMs = 25;

/** Calls `onExceeded`, once, when a process's resident memory passes the limit. Disposing it ends the watch. */
export function watchMemory(pid: number | undefined, bytesMax: number, onExceeded: () => void): Disposable {
  const timer = setInterval(() => {
    if (residentBytes(pid) <= bytesMax) return;
    clearInterval(timer);
    onExceeded();
  }, watchMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
