export { RegionStream } from "./answer-stream.ts";
export {
  type ParsedAnswer,
  parseAnswer,
  parseRegions,
  parseText,
  type Region,
  type Score,
  toAnswer,
} from "./answers.ts";
export { buildInto, graphFiles, writeManifest } from "./build/build.ts";
export {
  type BuiltModel,
  type CacheEntry,
  clearCache,
  listCache,
  type PrepareOptions,
  prepareModel,
} from "./build/cache.ts";
export { buildVersion, type Manifest, manifestName, readManifest, type Verification } from "./build/manifest.ts";
export { oneByOne, type Precision, precisions } from "./build/precision.ts";
export type { BuildOptions } from "./build/weights-file.ts";
export { type Checkpoint, openCheckpoint } from "./checkpoint/checkpoint.ts";
export type { GenerationConfig, Layout, ModelConfig } from "./checkpoint/config.ts";
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
export type { Finished, FinishReason, Hypothesis, Search } from "./generation/search.ts";
export { type DecodeOptions, decodePicture, imagePixelsMax, imageSideMax, type Picture } from "./image.ts";
export { imageTypeOf } from "./image-type.ts";
export { dequantize, type PictureSize, quantize } from "./locations.ts";
export { type PreparedPicture, pictureDigest, preparePicture } from "./picture.ts";
export { resizeBicubic } from "./resize.ts";
export { scoreRegions } from "./scores.ts";
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
export { type Pieces, TextStream, Tokenizer } from "./tokenizer.ts";
