import type { WorkerEvents } from "./events.ts";
import type { WorkerMethods } from "./server.ts";
import { SupervisedWorker } from "./supervised-worker.ts";

/** How a pool starts its workers. */
export interface WorkerOptions {
  readonly count: number;
  /** Hears when a worker becomes able or unable to take calls. */
  readonly events: WorkerEvents;
}

/** Starts workers of one kind; when one cannot start, those before it are ended and its error is thrown. */
export async function startWorkers<M extends WorkerMethods>(
  url: URL,
  data: unknown,
  { count, ...options }: WorkerOptions & { readonly name: string; readonly pendingMax: number },
): Promise<SupervisedWorker<M>[]> {
  await using started = new AsyncDisposableStack();
  const workers: SupervisedWorker<M>[] = [];
  while (workers.length < count) {
    workers.push(started.use(await SupervisedWorker.start<M>(url, data, options)));
  }
  started.move();
  return workers;
}
