import type { Logger } from "@florence/service";
import type { WorkerMethods } from "./server.ts";
import { SupervisedWorker } from "./supervised-worker.ts";

/** How a pool starts its workers. */
export interface WorkerOptions {
  readonly count: number;
  readonly log: Logger;
  /** Told when a worker became able or unable to take calls. */
  readonly onChange: () => void;
}

/** Starts workers of one kind; when one cannot start, those before it are ended and its error is thrown. */
export async function startWorkers<M extends WorkerMethods>(
  url: URL,
  data: unknown,
  { count, log, onChange, ...options }: WorkerOptions & { readonly name: string; readonly pendingMax: number },
): Promise<SupervisedWorker<M>[]> {
  await using started = new AsyncDisposableStack();
  const workers: SupervisedWorker<M>[] = [];
  while (workers.length < count) {
    const worker = await SupervisedWorker.start<M>(url, data, {
      ...options,
      onChange: (_ready, crash) => {
        if (crash) log.error({ err: crash, worker: options.name }, "worker crashed; starting it again");
        onChange();
      },
    });
    workers.push(started.use(worker));
  }
  started.move();
  return workers;
}
