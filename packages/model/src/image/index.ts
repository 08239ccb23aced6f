// What opens images, for a process that does nothing else: without the runtime, the tokenizer and the checkpoints.
export { type ImageMeasure, measureImage } from "./measure.ts";
export type { Colour } from "./pixels.ts";
export { type PreparedImage, prepareImage } from "./prepare.ts";
export type { ImageType } from "./type.ts";
