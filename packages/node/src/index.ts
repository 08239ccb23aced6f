export { type Environment, readEnvironment } from "./environment.ts";
export { type RunOptions, run } from "./lifecycle.ts";
export { createLogger } from "./log.ts";
