export { cpu } from "../engine/device.ts";
export { batchLimits, DecodeBatch, type Sequence } from "./decode-batch.ts";
export { generate } from "./generate.ts";
export { PromptModel } from "./prompt-model.ts";
export { VisionModel } from "./vision-model.ts";
