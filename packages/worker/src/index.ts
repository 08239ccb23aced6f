/**
 * Work that is not done on the main thread.
 *
 * Worker threads (startWorkers) run what we trust, like the model's graphs: memory is shared or moved, a call costs a tenth of a
 * millisecond. A thread cannot be stopped in native code, and what crashes there or takes all memory ends the whole process.
 *
 * Child processes (ProcessPool) run what strangers send, like image files: one that takes too long or too much is killed wherever it is,
 * and replaced. Bytes are copied both ways, some milliseconds for a large file, and each takes some 90 MB.
 */
export { type WorkerCallOptions, WorkerClient, type WorkerClientOptions } from "./client.ts";
export {
  logProcesses,
  logWorkers,
  type ProcessEvents,
  processEvents,
  type WorkerEvents,
  workerEvents,
} from "./events.ts";
export { type ProcessCall, ProcessEnded, type ProcessResult } from "./process/process-child.ts";
export { ProcessPool, type ProcessPoolOptions } from "./process/process-pool.ts";
export { type ProcessAnswer, type ProcessHandler, serveProcess } from "./process/process-server.ts";
export {
  serveWorker,
  transferring,
  type WorkerCallContext,
  type WorkerMethods,
  type WorkerService,
} from "./server.ts";
export { startWorkers, type WorkerOptions } from "./start-workers.ts";
export { SupervisedWorker, type SupervisedWorkerOptions } from "./supervised-worker.ts";
