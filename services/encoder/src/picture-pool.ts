import { Admission, type SupervisedWorker } from "@florence/service";
import type { PictureWorkerData, PictureWorkerMethods } from "./picture-worker.ts";
import { startWorkers, type WorkerOptions } from "./workers.ts";

// One picture is decoded on sharp's threads while the worker resizes the other.
const picturesPerWorker = 2;

/** A picture as the vision graph takes it. */
export type Prepared = Awaited<ReturnType<PictureWorkerMethods["prepare"]>>;

/** Decodes, hashes and resizes pictures in worker threads, few at a time because a decoded picture may take 150 MB. */
export class PicturePool implements AsyncDisposable {
  readonly #workers: readonly SupervisedWorker<PictureWorkerMethods>[];
  readonly #admission: Admission;

  private constructor(workers: readonly SupervisedWorker<PictureWorkerMethods>[], waitingMax: number) {
    this.#workers = workers;
    this.#admission = new Admission({ running: workers.length * picturesPerWorker, waiting: waitingMax });
  }

  /** `waitingMax`: callers that may wait for a worker; those who admit pictures know how many they let in. */
  static async start(
    data: PictureWorkerData,
    options: WorkerOptions & { readonly waitingMax: number },
  ): Promise<PicturePool> {
    const url = new URL("./picture-worker.ts", import.meta.url);
    const pendingMax = options.count * picturesPerWorker;
    const workers = await startWorkers<PictureWorkerMethods>(url, data, { ...options, name: "picture", pendingMax });
    return new PicturePool(workers, options.waitingMax);
  }

  /** Whether any worker takes pictures. */
  get ready(): boolean {
    return this.#workers.some((worker) => worker.ready);
  }

  /**
   * Prepares a picture file. An abort ends the wait for a worker; decoding, once begun, goes on and keeps its place, so
   * that what is decoded at one time stays bounded. Throws a Fault with one of the codes of an unusable picture.
   */
  async prepare(file: Uint8Array, ignoreOrientation: boolean, signal: AbortSignal): Promise<Prepared> {
    using _place = await this.#admission.acquire(signal);
    const ready = this.#workers.filter((worker) => worker.ready);
    const worker = (ready.length > 0 ? ready : this.#workers).reduce((a, b) => (b.pending < a.pending ? b : a));
    // The file is a view into its gRPC message, which must not be moved away.
    const bytes = new Uint8Array(file);
    const prepared = await worker.call("prepare", { bytes, ignoreOrientation }, { transfer: [bytes.buffer] });
    signal.throwIfAborted();
    return prepared;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker[Symbol.asyncDispose]()));
  }
}
