import { Admission, orAborted } from "@florence/service";
import { type ProcessCall, type ProcessOptions, ProcessWorker } from "./process-worker.ts";

export interface ProcessPoolOptions extends ProcessOptions {
  /** Processes, each with one piece of work at a time. */
  readonly count: number;
  /** Callers that may wait for a process; a further one is refused. */
  readonly waitingMax: number;
}

/** Processes of one kind that may die of their work. What kills one costs its own caller and nobody else. */
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
    const onChange: ProcessOptions["onChange"] = (ready, ended) => {
      const { resolve } = change.next;
      change.next = Promise.withResolvers();
      resolve();
      options.onChange?.(ready, ended);
    };
    const starting = Array.from({ length: count }, () => ProcessWorker.start(url, data, { ...options, onChange }));
    for (const outcome of await Promise.allSettled(starting))
      if (outcome.status === "fulfilled") started.use(outcome.value);
    const workers = await Promise.all(starting);
    started.move();
    return new ProcessPool(workers, waitingMax, change);
  }

  /** Whether any process is there. */
  get ready(): boolean {
    return this.#workers.some((worker) => worker.alive);
  }

  /**
   * Does a piece of work in a process of its own. An abort ends the wait for one; work that has begun goes on to its end or its limits,
   * and keeps its place. Rejects as ProcessWorker's call, or with `overloaded`.
   */
  async call(call: ProcessCall, signal: AbortSignal): ReturnType<ProcessWorker["call"]> {
    using _place = await this.#admission.acquire(signal);
    for (;;) {
      const worker = this.#workers.find(({ free }) => free);
      if (worker) return await worker.call(call);
      // Another caller's work killed one, which is being replaced.
      await orAborted(this.#change.next.promise, signal);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker[Symbol.asyncDispose]()));
  }
}
