export { readEnv, type ServerEnv } from "./env.ts";
export { type FindOptions, findOrGetNatsServer, type Missing } from "./find.ts";
export { type NatsServer, type NatsServerOptions, startNatsServer } from "./server.ts";
