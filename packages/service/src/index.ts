export { Admission, type AdmissionOptions } from "./admission.ts";
export {
  type Config,
  ConfigError,
  type ConfigRow,
  type ConfigSpec,
  decimal,
  describeConfig,
  type Field,
  flag,
  integer,
  oneOf,
  readConfig,
  Secret,
  secret,
  text,
} from "./config.ts";
export { Fault, type FaultCode, type FaultOptions, faultTable, isFaultCode } from "./fault.ts";
export { type CallOptions, type Client, type ClientOptions, createClient } from "./grpc-client.ts";
export type { CallContext, CallReport } from "./grpc-handler.ts";
export { messageBytesMaxDefault } from "./grpc-method.ts";
export {
  type Handlers,
  type Implementation,
  implement,
  type RunningServer,
  type ServeOptions,
  startServer,
} from "./grpc-server.ts";
export { Health } from "./health.ts";
export { type RunOptions, run } from "./lifecycle.ts";
export { createLogger, type Logger, type LogLevel, logLevels } from "./log.ts";
export { SupervisedWorker, type SupervisedWorkerOptions } from "./supervised-worker.ts";
export { toFault } from "./to-fault.ts";
export { type WorkerCallOptions, WorkerClient, type WorkerClientOptions } from "./worker-client.ts";
export {
  serveWorker,
  transferring,
  type WorkerCallContext,
  type WorkerMethods,
  type WorkerService,
} from "./worker-server.ts";
