import { join } from "node:path";
import { graphFiles } from "../compile/compile.ts";
import type { Manifest } from "../compile/manifest.ts";
import { openSession, type Session, uint8Tensor } from "../engine/onnxruntime.ts";

/** The vision graph, loaded. Runs block the calling thread: keep it in a worker. */
export class VisionModel implements AsyncDisposable {
  readonly #session: Session;
  readonly #manifest: Manifest;

  private constructor(session: Session, manifest: Manifest) {
    this.#session = session;
    this.#manifest = manifest;
  }

  static async load(folder: string, manifest: Manifest, threads: number): Promise<VisionModel> {
    return new VisionModel(await openSession(join(folder, graphFiles.vision), threads), manifest);
  }

  /**
   * Encodes B images. `pixels`: uint8 [B, size, size, 3]; it must not change before the promise resolves.
   * -> float32 [B, image_tokens, hidden]; in fp16 rounded to numbers that 16 bits hold, so that an embedding means the same wherever it
   * was stored.
   */
  async encode(pixels: Uint8Array, batch: number): Promise<Float32Array> {
    const { size } = this.#manifest.config.preprocess;
    const { features } = await this.#session.run({ pixels: uint8Tensor(pixels, [batch, size, size, 3]) }, ["features"]);
    const data = features?.data as Float32Array;
    return this.#manifest.precision === "fp16" ? Float32Array.from(Float16Array.from(data)) : data;
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#session[Symbol.asyncDispose]();
  }
}
