export { addressFamily, formatAddress, type HostAndPort, isLoopback, parseAddress, parseAddresses } from "./address.ts";
export { Admission, type AdmissionOptions } from "./admission.ts";
export {
  countEvents,
  createEvents,
  type EventKind,
  type EventKinds,
  type Events,
  event,
  type Listener,
} from "./events.ts";
export { type ErrorCode, Fault, type FaultCode, type FaultOptions, faultTable, isFaultCode } from "./fault.ts";
export { type Logger, type LogLevel, logLevels } from "./log.ts";
export type {
  ByKind,
  CallContext,
  CallOptions,
  Client,
  Handlers,
  Methods,
  Request,
  RequestInit,
  Response,
  ResponseInit,
} from "./rpc.ts";
export {
  type Config,
  ConfigError,
  type ConfigRow,
  type ConfigSpec,
  describeConfig,
  type Field,
  flag,
  hostAndPort,
  integer,
  oneOf,
  type ReadOptions,
  readConfig,
  Secret,
  secret,
  text,
} from "./settings.ts";
export { toFault } from "./to-fault.ts";
export {
  type IncomingCall,
  type MadeCall,
  type OutgoingCall,
  type ServedCall,
  type Tracing,
  untraced,
} from "./tracing.ts";
export { orAborted, sleep, within } from "./wait.ts";
