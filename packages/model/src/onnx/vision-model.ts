import { join } from "node:path";
import { graphFiles } from "../build/build.ts";
import type { Manifest } from "../build/manifest.ts";
import { openSession, type Session, uint8Tensor } from "./session.ts";

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
   * Encodes B pictures. `pixels`: uint8 [B, size, size, 3]; it must not change before the promise resolves.
   * -> float32 [B, image_tokens, hidden]
   */
  async encode(pixels: Uint8Array, batch: number): Promise<Float32Array> {
    const { size } = this.#manifest.config.preprocess;
    const { features } = await this.#session.run({ pixels: uint8Tensor(pixels, [batch, size, size, 3]) }, ["features"]);
    return features?.data as Float32Array;
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#session[Symbol.asyncDispose]();
  }
}
