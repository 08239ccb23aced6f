import { join } from "node:path";
import { graphFiles } from "../compile/compile.ts";
import type { Manifest } from "../compile/manifest.ts";
import { oneByOne } from "../compile/precision.ts";
import { float32Tensor, int64Tensor, openSession, type Session } from "../engine/onnxruntime.ts";
import { promptTokensMax } from "../generation/options.ts";
import { crossNames } from "../graphs/prompt.ts";

// Prompts that fill up to the same multiple share a call. What a prompt is padded to then depends on itself alone, so that its answer is
// the same to the last bit alone and in company; on average half a step, 8 rows of about 590, is wasted.
const lengthStep = 16;

/** A prompt to encode: its ids with <s> and </s>, about one of the batch's images. */
export interface Prompt {
  readonly ids: readonly number[];
  /** Which of the batch's embeddings it asks about. */
  readonly image: number;
}

/** Cross-attention keys and values of a batch of prompts, for each decoder layer key then value: float32 [P, heads, S, head_dim]. */
export interface EncodedPrompts {
  readonly tensors: readonly Float32Array[];
  /** S: positions of the padded batch. */
  readonly stride: number;
  /** Valid positions of each prompt: image tokens and its own. */
  readonly lengths: readonly number[];
}

/** The prompt graph, loaded. Runs block the calling thread. */
export class PromptModel implements AsyncDisposable {
  readonly #session: Session;
  readonly #manifest: Manifest;

  private constructor(session: Session, manifest: Manifest) {
    this.#session = session;
    this.#manifest = manifest;
  }

  static async load(folder: string, manifest: Manifest, threads: number): Promise<PromptModel> {
    return new PromptModel(await openSession(join(folder, graphFiles.prompt), threads), manifest);
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

  /** Encodes prompts of any length, about one or several images, in one padded call. `images`: float32 [image_tokens, hidden] each. */
  async encode(images: readonly Float32Array[], prompts: readonly Prompt[]): Promise<EncodedPrompts> {
    const { config } = this.#manifest;
    if (prompts.length > this.promptsMax) throw new RangeError("the integer precisions encode one prompt a call");
    const longest = this.bucketOf(Math.max(...prompts.map((p) => p.ids.length)));
    const padded = prompts.flatMap((p) => [...p.ids, ...Array(longest - p.ids.length).fill(config.text.pad)]);
    const names = Array.from({ length: config.text.decoderLayers }, (_, l) => [
      crossNames(l).key,
      crossNames(l).value,
    ]).flat();
    const features = images.length === 1 ? (images[0] as Float32Array) : concat(images);
    const out = await this.#session.run(
      {
        features: float32Tensor(features, [images.length, config.imageTokens, config.text.hidden]),
        image_index: int64Tensor(
          prompts.map((p) => p.image),
          [prompts.length],
        ),
        ids: int64Tensor(padded, [prompts.length, longest]),
        lengths: int64Tensor(
          prompts.map((p) => p.ids.length),
          [prompts.length],
        ),
      },
      names,
    );
    return {
      tensors: names.map((name) => out[name]?.data as Float32Array),
      stride: config.imageTokens + longest,
      lengths: prompts.map((p) => config.imageTokens + p.ids.length),
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
