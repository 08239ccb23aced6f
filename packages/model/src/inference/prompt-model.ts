import { join } from "node:path";
import { graphFiles } from "../compile/compile.ts";
import type { Manifest } from "../compile/manifest.ts";
import { oneByOne } from "../compile/precision.ts";
import { type Device, openGraph } from "../engine/device.ts";
import { float32Tensor, int32Tensor, type Session, type Tensors } from "../engine/engine.ts";
import { promptTokensMax } from "../generation/options.ts";
import { crossNames } from "../graphs/prompt.ts";
import { kvNames } from "./kv-pool.ts";

// Prompts that fill up to the same multiple share a call. What a prompt is padded to then depends on itself alone, so that its answer is
// the same to the last bit alone and in company; on average half a step, 8 rows of about 590, is wasted.
const lengthStep = 16;

/** A prompt to encode: its ids with <s> and </s>, about one of the batch's images. */
export interface Prompt {
  readonly ids: readonly number[];
  /** Which of the batch's embeddings it asks about. */
  readonly image: number;
}

/** A batch of prompts as the decode graph reads them. Whoever asked for it disposes of it after the last of its prompts has joined. */
export interface EncodedPrompts extends Disposable {
  /** By the decode graph's names, every decoder layer's cross-attention keys and values: float32 [P, heads, S, head_dim]. */
  readonly tensors: Tensors;
  /** Valid positions of each prompt: image tokens and its own. */
  readonly lengths: readonly number[];
}

/** The prompt graph, loaded. */
export class PromptModel implements AsyncDisposable {
  readonly #session: Session;
  readonly #manifest: Manifest;

  private constructor(session: Session, manifest: Manifest) {
    this.#session = session;
    this.#manifest = manifest;
  }

  /** Loads a built folder's graph. Rejects when the graph's file or its weights are missing or damaged. */
  static async load(folder: string, manifest: Manifest, device: Device): Promise<PromptModel> {
    return new PromptModel(await openGraph(join(folder, graphFiles.prompt), device), manifest);
  }

  /** Prompts of one bucket may share a call. In the integer precisions a call holds one prompt: its activations share one scale. */
  bucketOf(tokens: number): number {
    const { config, precision } = this.#manifest;
    if (oneByOne(precision)) return tokens;
    return Math.min(promptTokensMax(config), Math.ceil(tokens / lengthStep) * lengthStep);
  }

  /** How many prompts a call may hold. */
  get promptsMax(): number {
    return oneByOne(this.#manifest.precision) ? 1 : Number.POSITIVE_INFINITY;
  }

  /**
   * Encodes prompts of any length, about one or several images, in one padded call. `images`: float32 [image_tokens, hidden] each. Throws a
   * RangeError when the prompts are more than `promptsMax`.
   */
  async encode(images: readonly Float32Array[], prompts: readonly Prompt[]): Promise<EncodedPrompts> {
    const { config } = this.#manifest;
    if (prompts.length > this.promptsMax) throw new RangeError("the integer precisions encode one prompt a call");
    const longest = this.bucketOf(Math.max(...prompts.map((p) => p.ids.length)));
    const padded = prompts.flatMap((p) => [...p.ids, ...Array(longest - p.ids.length).fill(config.text.pad)]);
    const features = images.length === 1 ? (images[0] as Float32Array) : concat(images);
    const tensors = await this.#session.run(
      {
        features: float32Tensor(features, [images.length, config.imageTokens, config.text.hidden]),
        image_index: int32Tensor(
          prompts.map((p) => p.image),
          [prompts.length],
        ),
        ids: int32Tensor(padded, [prompts.length, longest]),
        lengths: int32Tensor(
          prompts.map((p) => p.ids.length),
          [prompts.length],
        ),
      },
      kvNames(config.text.decoderLayers, crossNames),
    );
    return {
      tensors,
      lengths: prompts.map((p) => config.imageTokens + p.ids.length),
      [Symbol.dispose]: () => {}, // memory of this process: the garbage collector's
    };
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#session[Symbol.asyncDispose]();
  }
}

function concat(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
