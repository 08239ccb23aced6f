import { createEvents, type Events, event, type Listener, type Logger } from "@florence/service";

/** What happens to worker threads; `worker` is the name that they were started under. */
export const workerEvents = {
  workerReady: event<{ worker: string; restarted: boolean; ms: number }>(
    "A worker thread takes calls, for the first time or again; how long it took since its start.",
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

/** What happens to child processes; `process` is the name that they were started under. */
export const processEvents = {
  processKilled: event<{ process: string; why: "time" | "memory" | "crash"; error: Error }>(
    "A process was ended by a limit, or by itself; its work failed, and another takes its place.",
  ),
  processReplaced: event<{ process: string }>("Another process took the place of one that had ended."),
  processFailed: event<{ process: string; error: Error }>(
    "A process could not be started in the place of one that had ended; it is tried again after a pause.",
  ),
};

/** Where child processes are heard of. */
export type ProcessEvents = Events<typeof processEvents>;

/** Logs what ended processes. */
export function logProcesses(log: Logger): Listener<typeof processEvents> {
  return {
    processKilled: ({ process, why, error: { message } }) =>
      log.warn({ process, why, message }, "process ended; replacing it"),
    processFailed: ({ process, error }) => log.error({ err: error, process }, "process does not start; trying again"),
  };
}
