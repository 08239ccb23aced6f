import { createEvents, type Events, event, type Listener, type Logger } from "@florence/service";

/** What happens to worker threads; `worker` is the name that they were started under. */
export const workerEvents = {
  workerReady: event<{ worker: string; restarted: boolean }>(
    "A worker thread takes calls, for the first time or again.",
  ),
  workerCrashed: event<{ worker: string; error: Error | undefined }>(
    "A worker thread fell, or could not be started again; it is started again after a pause.",
  ),
};

/** Where worker threads are heard of. */
export type WorkerEvents = Events<typeof workerEvents>;

export const unheard: WorkerEvents = createEvents(workerEvents);

/** Logs crashes. */
export function logWorkers(log: Logger): Listener<typeof workerEvents> {
  return {
    workerCrashed: ({ worker, error }) => {
      if (error) log.error({ err: error, worker }, "worker crashed; starting it again");
    },
  };
}
