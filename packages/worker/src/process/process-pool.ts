import { Admission, Fault, orAborted } from "@florence/service";
import type { ProcessCall, ProcessResult } from "./process-child.ts";
import { ProcessWorker, type ProcessWorkerOptions } from "./process-worker.ts";

export interface ProcessPoolOptions extends ProcessWorkerOptions {
  /** Processes, each with one piece of work at a time. */
  readonly count: number;
  /** Callers that may wait for a process; a further one is refused. */
  readonly waitingMax: number;
}

/**
 * Processes of one kind that may die of their work: each piece has a limit of time and of memory that holds in native code too. What
 * kills one costs its own caller and nobody else. For work that is trusted, worker threads are lighter: startWorkers.
 */
export class ProcessPool implements AsyncDisposable {
  readonly #workers: readonly ProcessWorker[];
  readonly #admission: Admission;
  readonly #change: { next: PromiseWithResolvers<void> };

  private constructor(
    workers: readonly ProcessWorker[],
    waitingMax: number,
    change: { next: PromiseWithResolvers<void> },
  ) {
    this.#workers = workers;
    this.#change = change;
    this.#admission = new Admission({ running: workers.length, waiting: waitingMax });
  }

  /** Starts the processes; when one cannot start, the others are ended and its error is thrown. */
  static async start(
    url: URL,
    data: object,
    { count, waitingMax, ...options }: ProcessPoolOptions,
  ): Promise<ProcessPool> {
    await using started = new AsyncDisposableStack();
    const change = { next: Promise.withResolvers<void>() };
    const onChange = () => {
      const { resolve } = change.next;
      change.next = Promise.withResolvers();
      resolve();
    };
    const starting = Array.from({ length: count }, () => ProcessWorker.start(url, data, options, onChange));
    for (const outcome of await Promise.allSettled(starting))
      if (outcome.status === "fulfilled") started.use(outcome.value);
    const workers = await Promise.all(starting);
    started.move();
    return new ProcessPool(workers, waitingMax, change);
  }

  /** Whether any process takes work, now or when it has been replaced. */
  get ready(): boolean {
    return this.#workers.some((worker) => worker.ready);
  }

  /**
   * Does a piece of work in a process of its own. An abort lets the caller go; work that has begun goes on to its end or its limits, and
   * keeps its process. Rejects as ProcessChild's call, with the reason of the signal, or with a Fault: `overloaded` where too many wait,
   * `unavailable` where no process can be started.
   */
  async call(call: ProcessCall, signal: AbortSignal): Promise<ProcessResult> {
    const place = await this.#admission.acquire(signal);
    const work = this.#run(call, signal).finally(() => place[Symbol.dispose]());
    return await orAborted(work, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker[Symbol.asyncDispose]()));
    this.#change.next.resolve();
  }

  async #run(call: ProcessCall, signal: AbortSignal): Promise<ProcessResult> {
    for (;;) {
      const worker = this.#workers.find(({ free }) => free);
      if (worker) return await worker.call(call);
      if (!this.ready) {
        throw new Fault("unavailable", "The service is unavailable.", {
          internal: "No process can be started.",
          retryAfterS: 1,
        });
      }
      // Another caller's work killed one, which is being replaced.
      await orAborted(this.#change.next.promise, signal);
    }
  }
}
