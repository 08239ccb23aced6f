import { endForGood } from "./watchdog.ts";

/** What a process may take beside its service's own drain deadline, to close what the service used, before it is ended by force. */
export const endGraceMs = 5_000;

/** How `run` stops. */
export interface RunOptions {
  /** From the first signal until the process is ended by force, in milliseconds. */
  drainMs: number;
  /** Where to say what is happening. Default: stderr. */
  report?: (message: string) => void;
}

// A terminal, npm, a shell and `timeout` each pass a signal on to the process or to its whole group: what comes within this time is one.
const copiesMs = 1_000;

/**
 * Runs a service until it is asked to stop, then disposes it; the process ends by itself when nothing is left to do. SIGINT and SIGTERM
 * ask, and so does SIGHUP, which says that the terminal or the parent is gone. A second SIGINT or SIGTERM that is no copy of the first,
 * or the drain deadline, ends it at once with a failure. `start` gets a signal that aborts at the first one; a rejection because of it is
 * a normal stop, any other is thrown.
 */
export async function run(
  start: (signal: AbortSignal) => Promise<AsyncDisposable>,
  { drainMs, report = reportToStderr }: RunOptions,
): Promise<void> {
  const stopping = new AbortController();
  let askedAt = 0;
  // Forced exits lose unflushed logs and telemetry, so they are the last resort.
  const force = (reason: string) => {
    report(`${reason}: ending now.`);
    endForGood();
  };
  const onSignal = (name: NodeJS.Signals) => {
    if (stopping.signal.aborted) {
      const asksAgain = name !== "SIGHUP" && performance.now() - askedAt > copiesMs;
      return asksAgain ? force(`${name} again`) : undefined;
    }
    askedAt = performance.now();
    report(`${name}: stopping within ${drainMs / 1000} s.`);
    // Does not keep the process alive, but ends it if something else does.
    setTimeout(() => force("The drain deadline has passed"), drainMs).unref();
    stopping.abort();
  };
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, onSignal);
  try {
    await using _service = await start(stopping.signal);
    await aborted(stopping.signal);
  } catch (error) {
    if (!isAbortOf(stopping.signal, error)) throw error;
  }
}

// A pending promise does not keep a process alive; a service has sockets or workers that do.
function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function isAbortOf(signal: AbortSignal, error: unknown): boolean {
  return signal.aborted && (error === signal.reason || (error instanceof Error && error.name === "AbortError"));
}

function reportToStderr(message: string): void {
  process.stderr.write(`${message}\n`);
}
