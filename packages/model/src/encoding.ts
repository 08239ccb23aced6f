import { createHash } from "node:crypto";
import type { Manifest } from "./compile/manifest.ts";
import { oneByOne } from "./compile/precision.ts";
import { newTokensMax, promptTokensMax } from "./generation/options.ts";
import { preprocessVersion } from "./image/prepare.ts";
import type { TaskRow } from "./tasks.ts";

/** Everything that follows from a built model about its embeddings and its calls. Whoever needs one of these takes it from here. */
export interface Encoding {
  /** [image tokens, hidden size]. */
  readonly dims: readonly [number, number];
  /** How an embedding's numbers are stored. */
  readonly dtype: "f32" | "f16";
  /** Bytes of an embedding in memory, where it is float32. */
  readonly bytes: number;
  /** sha-256 of the weights, hex. Embeddings of other weights mean nothing to these. */
  readonly digest: string;
  /**
   * What the key of an embedding says beside weights, type and pixels: the version of the preprocessing, the input's side, the precision of
   * the graph, and a digest of what the weights' digest does not cover: the checkpoint's own preprocessing settings, and the layers that a
   * quantised build left alone.
   */
  readonly preprocess: string;
  /** Bytes of one image as the vision graph takes it: uint8 [size, size, 3]. */
  readonly pixelBytes: number;
  /** Whether a call of the vision or prompt graph holds one image or prompt only, because its activations share one scale. */
  readonly oneByOne: boolean;
  /** Longest prompt in tokens, <s> and </s> included. */
  readonly promptTokensMax: number;
  /** Longest answer in tokens. */
  readonly newTokensMax: number;
}

/** What a manifest says of its encoder. */
export function encodingOf({ digest, precision, kept, config }: Manifest): Encoding {
  const { preprocess, imageTokens, text } = config;
  const settings = createHash("sha256")
    .update(JSON.stringify(kept === undefined ? preprocess : [preprocess, kept]))
    .digest("hex")
    .slice(0, 8);
  return {
    dims: [imageTokens, text.hidden],
    // In fp16 the features are numbers of 16 bits already (the model rounds them), so half the bytes hold all of them.
    dtype: precision === "fp16" ? "f16" : "f32",
    bytes: imageTokens * text.hidden * Float32Array.BYTES_PER_ELEMENT,
    digest,
    preprocess: `${preprocessVersion}-${preprocess.size}-${precision}-${settings}`,
    pixelBytes: preprocess.size ** 2 * 3,
    oneByOne: oneByOne(precision),
    promptTokensMax: promptTokensMax(config),
    newTokensMax: newTokensMax(config),
  };
}

/** How many images one run of the vision graph takes, within the bounds on their number and on the bytes of their activations. */
export function imagesPerCall(manifest: Manifest, bounds: { batchMax: number; batchBytesMax: number }): number {
  if (oneByOne(manifest.precision)) return 1;
  const byBytes = Math.floor(bounds.batchBytesMax / activationBytes(manifest));
  return Math.max(1, Math.min(bounds.batchMax, byBytes));
}

// How many of a model's widest maps a run holds for one image, the runtime's own reserve included: measured as the
// process's growth between batches of 1 and 8 with the drawn checkpoint, which takes 13 MB an image.
const mapsHeld = 25;

/** An estimate of what a run takes for one image beside the weights, in bytes. */
function activationBytes({ config: { vision, maps } }: Manifest): number {
  const numbers = maps.map((side, stage) => side * side * (vision.channels[stage] as number));
  return Math.max(...numbers) * mapsHeld * Float32Array.BYTES_PER_ELEMENT;
}

/** A loaded checkpoint as services describe it to each other; the fields are those of florence.v1.Model. */
export interface ModelDescription {
  readonly name: string;
  readonly digest: string;
  readonly precision: string;
  readonly imageSize: number;
  readonly imageTokens: number;
  readonly hiddenSize: number;
  readonly promptTokensMax: number;
  readonly newTokensMax: number;
  readonly numBeams: number;
  /** JSON of the drift figures; empty where they were never measured. */
  readonly verificationJson: string;
  /** The checkpoint's own tasks, beside Florence-2's. */
  readonly tasks: TaskRow[];
}

/** What a service says of its model. `newTokensAllowed`: what the service allows, where that is less than the model. */
export function describeModel(manifest: Manifest, newTokensAllowed = Number.POSITIVE_INFINITY): ModelDescription {
  const { name, digest, precision, config, verification, tasks = [] } = manifest;
  const encoding = encodingOf(manifest);
  return {
    name,
    digest,
    precision,
    imageSize: config.preprocess.size,
    imageTokens: encoding.dims[0],
    hiddenSize: encoding.dims[1],
    promptTokensMax: encoding.promptTokensMax,
    newTokensMax: Math.min(newTokensAllowed, encoding.newTokensMax),
    numBeams: config.generation.numBeams,
    verificationJson: verification ? JSON.stringify(verification) : "",
    tasks: [...tasks],
  };
}
