import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";

// Memory that is being filled grows by some gigabytes a second: within this time by less than a hundred megabytes.
const watchMs = 25;
// Pages of Linux on every processor that Node runs on in servers.
const pageBytes = 4096;

/** Calls `onExceeded`, once, when a process's resident memory passes the limit. Dispose it when the process has ended. */
export function watchMemory(child: ChildProcess, bytesMax: number, onExceeded: () => void): Disposable {
  const timer = setInterval(() => {
    if (residentBytes(child.pid) <= bytesMax) return;
    clearInterval(timer);
    onExceeded();
  }, watchMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** 0 where it cannot be known: the process has ended, or the system is no Linux. */
function residentBytes(pid: number | undefined): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * pageBytes;
  } catch {
    return 0;
  }
}
