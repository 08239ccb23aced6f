export {
  type ParsedAnswer,
  parseAnswer,
  parseRegions,
  parseText,
  type Region,
  type Score,
  toAnswer,
} from "./answers/index.ts";
export { RegionStream } from "./answers/stream.ts";
export { type Checkpoint, openCheckpoint } from "./checkpoint/checkpoint.ts";
export type { GenerationConfig, Layout, ModelConfig } from "./checkpoint/config.ts";
export {
  type BuiltModel,
  type CacheEntry,
  clearCache,
  listCache,
  type PrepareOptions,
  prepareModel,
} from "./compile/cache.ts";
export { buildInto, graphFiles, writeManifest } from "./compile/compile.ts";
export { buildVersion, type Manifest, manifestName, readManifest, type Verification } from "./compile/manifest.ts";
export { type Precision, precisions } from "./compile/precision.ts";
export type { BuildOptions } from "./compile/weights-file.ts";
export {
  activationBytes,
  describeModel,
  type Encoding,
  encodingOf,
  imagesPerCall,
  type ModelDescription,
} from "./encoding.ts";
export { ModelError, type ModelErrorCode } from "./errors.ts";
export { classify, Grammar } from "./generation/grammar.ts";
export { newSearch } from "./generation/new-search.ts";
export {
  type GenerationOptions,
  newTokensMax,
  numBeamsMax,
  promptTokensMax,
  resolveOptions,
} from "./generation/options.ts";
export { scoreRegions } from "./generation/scores.ts";
export type { Finished, FinishReason, Hypothesis, Search } from "./generation/search.ts";
export {
  type DecodedImage,
  type DecodeOptions,
  decodeImage,
  imagePixelsMax,
  imageSideMax,
  type RgbImage,
} from "./image/decode.ts";
export { imageDigest, type PreparedImage, prepareImage } from "./image/prepare.ts";
export { resizeBicubic } from "./image/resize.ts";
export { imageTypeOf } from "./image/type.ts";
export type { ImageWarning, ImageWarningCode } from "./image/warnings.ts";
export {
  type AnswerKind,
  answerKey,
  buildPrompt,
  findTask,
  joinClasses,
  regionToLocations,
  type TaskRow,
  tasks,
} from "./tasks.ts";
export { dequantize, type ImageSize, quantize } from "./text/locations.ts";
export { type Pieces, TextStream, Tokenizer } from "./tokenizer/tokenizer.ts";
