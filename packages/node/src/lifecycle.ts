/** What a process may take beside its service's own drain deadline, to close what the service used, before it is ended by force. */
export const endGraceMs = 5_000;

/** How `run` stops. */
export interface RunOptions {
  /** From the first signal until the process is ended by force, in milliseconds. */
  drainMs: number;
  /** Where to say what is happening. Default: stderr. */
  report?: (message: string) => void;
}

/**
 * Runs a service until SIGINT or SIGTERM, then disposes it; the process ends by itself when nothing is left to do. A
 * second signal, or the drain deadline, ends it at once with a failure. `start` gets a signal that aborts at the first
 * one; a rejection because of it is a normal stop, any other is thrown.
 */
export async function run(
  start: (signal: AbortSignal) => Promise<AsyncDisposable>,
  { drainMs, report = reportToStderr }: RunOptions,
): Promise<void> {
  const stopping = new AbortController();
  // Forced exits lose unflushed logs and telemetry, so they are the last resort.
  const force = (reason: string) => {
    report(`${reason}: ending now.`);
    process.exit(1);
  };
  const onSignal = (name: NodeJS.Signals) => {
    if (stopping.signal.aborted) return force(`${name} again`);
    report(`${name}: stopping within ${drainMs / 1000} s.`);
    // Does not keep the process alive, but ends it if something else does.
    setTimeout(() => force("The drain deadline has passed"), drainMs).unref();
    stopping.abort();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
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
