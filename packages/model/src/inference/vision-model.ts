import { join } from "node:path";
import { graphFiles } from "../compile/compile.ts";
import type { Manifest } from "../compile/manifest.ts";
import { type Device, openGraph } from "../engine/device.ts";
import { numbersOf, type Session, uint8Tensor } from "../engine/engine.ts";

/** The vision graph, loaded. */
export class VisionModel implements AsyncDisposable {
  readonly #session: Session;
  readonly #manifest: Manifest;

  private constructor(session: Session, manifest: Manifest) {
    this.#session = session;
    this.#manifest = manifest;
  }

  /** Loads a built folder's graph. Rejects when the graph's file or its weights are missing or damaged. */
  static async load(folder: string, manifest: Manifest, device: Device): Promise<VisionModel> {
    return new VisionModel(await openGraph(join(folder, graphFiles.vision), device), manifest);
  }

  /**
   * Encodes B images. `pixels`: uint8 [B, size, size, 3]; it must not change before the promise resolves.
   * -> float32 [B, image_tokens, hidden]; in fp16 rounded to numbers that 16 bits hold, so that an embedding means the same wherever it
   * was stored. Rejects when `pixels` are not as many as that.
   */
  async encode(pixels: Uint8Array, batch: number): Promise<Float32Array> {
    const { size } = this.#manifest.config.preprocess;
    const inputs = { pixels: uint8Tensor(pixels, [batch, size, size, 3]) };
    const data = numbersOf(await this.#session.run(inputs, ["features"]), "features", "float32");
    return this.#manifest.precision === "fp16" ? Float32Array.from(Float16Array.from(data)) : data;
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#session[Symbol.asyncDispose]();
  }
}
