import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";

const KiB = 1024;
const MiB = 1024 * KiB;

// What Node itself counts as data before it does anything: mostly stacks and heaps that are reserved and not used.
const nodeDataBytes = 640 * MiB;
// An endless loop that lost its parent ends after so much. One that has it is replaced, once in some 50,000 images.
const cpuSecondsMax = 3600;

const shell = "/bin/sh";
// The shell gives way to the program, which keeps its process id. A system without one of the limits goes without it.
const script = 'ulimit -d "$0" 2>/dev/null; ulimit -t "$1" 2>/dev/null; shift; exec "$@"';

// It does one thing at a time, so that the threads and memory for several would lie idle.
const flags = ["--disable-warning=ExperimentalWarning", "--v8-pool-size=1"];
// Nothing of our own environment is passed on: what opens strangers' files needs no password.
const env = { UV_THREADPOOL_SIZE: "2", MALLOC_ARENA_MAX: "2" };

/**
 * Starts a file of ours in a process of its own, with a channel at fd 3. Where the system has limits for processes, memory that it asks
 * for beyond `memoryBytesMax` is refused: a backstop for what grows between two looks of whoever watches it.
 */
export function spawnChild(file: string, memoryBytesMax: number): ChildProcess {
  const program = [process.execPath, ...flags, file];
  const limits = [Math.ceil((nodeDataBytes + memoryBytesMax) / KiB), cpuSecondsMax].map(String);
  const command = existsSync(shell) ? [shell, "-c", script, ...limits, ...program] : program;
  const [first, ...rest] = command as [string, ...string[]];
  const child = spawn(first, rest, { stdio: ["ignore", "ignore", "pipe", "pipe"], env });
  endWithUs(child);
  return child;
}

const children = new Set<ChildProcess>();

/** One listener for all, however many there are. */
function endWithUs(child: ChildProcess): void {
  if (children.size === 0) process.on("exit", endAll);
  children.add(child);
  const forget = () => {
    children.delete(child);
    if (children.size === 0) process.off("exit", endAll);
  };
  child.once("exit", forget);
  child.once("error", forget);
}

function endAll(): void {
  for (const child of children) child.kill("SIGKILL");
}
