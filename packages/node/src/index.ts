export { type Environment, environment, readEnvironment, readEnvironments } from "./environment.ts";
export { endGraceMs, type RunOptions, run } from "./lifecycle.ts";
export { createLogger } from "./log.ts";
export { runProgram } from "./program.ts";
export { Progress } from "./progress.ts";
