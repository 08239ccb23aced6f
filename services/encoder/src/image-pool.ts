import { Admission } from "@florence/service";
import { type SupervisedWorker, startWorkers, type WorkerOptions } from "@florence/worker";
import type { ImageReading, ImageWorkerData, ImageWorkerMethods } from "./image-worker.ts";

// One image is decoded on sharp's threads while the worker resizes the other.
const imagesPerWorker = 2;

/** An image as the vision graph takes it. */
export type Prepared = Awaited<ReturnType<ImageWorkerMethods["prepare"]>>;

/** Decodes, hashes and resizes images in worker threads, few at a time because a decoded image may take 150 MB. */
export class ImagePool implements AsyncDisposable {
  readonly #workers: readonly SupervisedWorker<ImageWorkerMethods>[];
  readonly #admission: Admission;

  private constructor(workers: readonly SupervisedWorker<ImageWorkerMethods>[], waitingMax: number) {
    this.#workers = workers;
    this.#admission = new Admission({ running: workers.length * imagesPerWorker, waiting: waitingMax });
  }

  /** `waitingMax`: callers that may wait for a worker; those who admit images know how many they let in. */
  static async start(
    data: ImageWorkerData,
    options: WorkerOptions & { readonly waitingMax: number },
  ): Promise<ImagePool> {
    const url = new URL("./image-worker.ts", import.meta.url);
    const pendingMax = options.count * imagesPerWorker;
    const workers = await startWorkers<ImageWorkerMethods>(url, data, { ...options, name: "image", pendingMax });
    return new ImagePool(workers, options.waitingMax);
  }

  /** Whether any worker takes images. */
  get ready(): boolean {
    return this.#workers.some((worker) => worker.ready);
  }

  /**
   * Prepares an image file. An abort ends the wait for a worker; decoding, once begun, goes on and keeps its place, so
   * that what is decoded at one time stays bounded. Throws a Fault with one of the codes of an unusable image.
   */
  async prepare(
    file: Uint8Array,
    { ignoreOrientation, background }: ImageReading,
    signal: AbortSignal,
  ): Promise<Prepared> {
    using _place = await this.#admission.acquire(signal);
    const ready = this.#workers.filter((worker) => worker.ready);
    const worker = (ready.length > 0 ? ready : this.#workers).reduce((a, b) => (b.pending < a.pending ? b : a));
    // The file is a view into its gRPC message, which must not be moved away.
    const bytes = new Uint8Array(file);
    const prepared = await worker.call(
      "prepare",
      { bytes, ignoreOrientation, background },
      { transfer: [bytes.buffer] },
    );
    signal.throwIfAborted();
    return prepared;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker[Symbol.asyncDispose]()));
  }
}
