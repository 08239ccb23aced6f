export { cpu, type Device, type Provider } from "../engine/device.ts";
export { type BatchLimits, batchLimits, DecodeBatch, type Sequence, type Stepped } from "./decode-batch.ts";
export { generate } from "./generate.ts";
export { type EncodedPrompts, type Prompt, PromptModel } from "./prompt-model.ts";
export { VisionModel } from "./vision-model.ts";
