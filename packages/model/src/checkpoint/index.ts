export { type Checkpoint, openCheckpoint } from "./checkpoint.ts";
export { type ModelConfig, parseConfig } from "./config.ts";
export { embeddingName, expectedTensors, nativeName, projectionName } from "./names.ts";
export { neededFiles } from "./needed-files.ts";
