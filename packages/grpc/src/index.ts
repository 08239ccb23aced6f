export { type ClientOptions, createClient } from "./client.ts";
export type { CallReport } from "./handler.ts";
export { Health } from "./health.ts";
export { messageBytesMaxDefault } from "./method.ts";
export { type Implementation, implement, type RunningServer, type ServeOptions, startServer } from "./server.ts";
