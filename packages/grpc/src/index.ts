export { type ClientOptions, createClient } from "./client.ts";
export { type Credentials, noCredentials, openCredentials } from "./credentials.ts";
export { type CallEvents, callEvents, logCalls } from "./events.ts";
export { Health } from "./health.ts";
export { messageBytesMaxDefault } from "./method.ts";
export { type Implementation, implement, type RunningServer, type ServeOptions, startServer } from "./server.ts";
