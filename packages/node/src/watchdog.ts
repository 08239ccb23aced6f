import { spawn } from "node:child_process";

// Far more than an exit needs that is not stuck.
const graceMs = 1_000;

// It looks whether it is still that process's child: an id may be given anew.
const watchdog = `
  const parent = process.ppid;
  setTimeout(() => process.ppid === parent && process.kill(parent, "SIGKILL"), ${graceMs});
`;

/**
 * Ends the process with a failure, for certain. An exit waits for threads, and one that is stuck in native code never ends: so a process
 * of its own kills this one where it is still there a second later. (A container's process 1 cannot be killed from inside; its runtime
 * does that.)
 */
export function endForGood(): never {
  const flags = { detached: true, stdio: "ignore", env: {} } as const;
  spawn(process.execPath, ["--eval", watchdog], flags)
    .on("error", () => {})
    .unref();
  process.exit(1);
}
