export { type WorkerCallOptions, WorkerClient, type WorkerClientOptions } from "./client.ts";
export { logWorkers, type WorkerEvents, workerEvents } from "./events.ts";
export { ProcessPool, type ProcessPoolOptions } from "./process/process-pool.ts";
export { type ProcessAnswer, type ProcessHandler, serveProcess } from "./process/process-server.ts";
export { type ProcessCall, ProcessEnded, type ProcessOptions } from "./process/process-worker.ts";
export {
  serveWorker,
  transferring,
  type WorkerCallContext,
  type WorkerMethods,
  type WorkerService,
} from "./server.ts";
export { startWorkers, type WorkerOptions } from "./start-workers.ts";
export { SupervisedWorker, type SupervisedWorkerOptions } from "./supervised-worker.ts";
