import "./engine/env.ts"; // in the main thread, for the workers that load the runtime

export {
  parseAnswer,
  parseRegions,
  type Region,
  type Score,
  toAnswer,
} from "./answers/index.ts";
export { RegionStream } from "./answers/stream.ts";
export { type Checkpoint, type OpenOptions, openCheckpoint } from "./checkpoint/checkpoint.ts";
export type { ModelConfig } from "./checkpoint/config.ts";
export {
  type BuiltModel,
  clearCache,
  listCache,
  prepareModel,
} from "./compile/cache.ts";
export { buildInto, checkCheckpoint, writeManifest } from "./compile/compile.ts";
export { cacheFolder, loadModel } from "./compile/load.ts";
export {
  buildVersion,
  type Manifest,
  manifestName,
  readManifest,
  tasksOf,
  type Verification,
} from "./compile/manifest.ts";
export { type Precision, precisions } from "./compile/precision.ts";
export { encodePrompt } from "./encode-prompt.ts";
export {
  describeModel,
  type Encoding,
  encodingOf,
  imagesPerCall,
} from "./encoding.ts";
export { ModelError } from "./errors.ts";
export { classify, Grammar } from "./generation/grammar.ts";
export { newSearch } from "./generation/new-search.ts";
export {
  type GenerationOptions,
  newTokensDefault,
  newTokensMax,
  promptTokensMax,
  resolveOptions,
} from "./generation/options.ts";
export { scoreRegions } from "./generation/scores.ts";
export type { Finished, FinishReason, Hypothesis, Search } from "./generation/search.ts";
export { parseColour } from "./image/colour.ts";
export {
  type DecodedImage,
  type DecodeOptions,
  decodeImage,
  imagePixelsMax,
  imageSideMax,
  type RgbImage,
} from "./image/decode.ts";
export type { Colour } from "./image/pixels.ts";
export { imageDigest, type PreparedImage, prepareImage } from "./image/prepare.ts";
export { resizeBicubic } from "./image/resize.ts";
export { formatNames, imageTypeOf } from "./image/type.ts";
export type { ImageWarning, ImageWarningCode } from "./image/warnings.ts";
export {
  type AnswerKind,
  answerKey,
  buildPrompt,
  findTask,
  isTextKind,
  joinClasses,
  regionToLocations,
  type TaskRow,
  tasks,
} from "./tasks.ts";
export { dequantize, type ImageSize, quantize } from "./text/locations.ts";
export { TextStream, Tokenizer } from "./tokenizer/tokenizer.ts";
