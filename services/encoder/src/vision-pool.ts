import { availableParallelism } from "node:os";
import type { BuiltModel } from "@florence/model";
import { Fault, toFault } from "@florence/service";
import type { SupervisedWorker } from "@florence/worker";
import { startWorkers, type WorkerOptions } from "@florence/worker";
import type { VisionWorkerData, VisionWorkerMethods } from "./vision-worker.ts";

/** One image's features: [image_tokens, hidden], row-major. */
export interface Features {
  readonly data: Float32Array<ArrayBuffer>;
  /** Milliseconds that the run took which this image was in. */
  readonly encodeMs: number;
}

interface Waiting {
  readonly pixels: Uint8Array<ArrayBuffer>;
  readonly resolve: (features: Features) => void;
  readonly reject: (error: unknown) => void;
  readonly forgetSignal: () => void;
}

export interface VisionPoolOptions extends WorkerOptions {
  /** Cores that one run may use; 0 shares all among the workers. */
  readonly threads: number;
  /** Images in one run. */
  readonly batchMax: number;
  /** The worker's file; one that serves the methods of vision-worker.ts. */
  readonly url?: URL;
}

/**
 * Runs the vision graph in worker threads. An image that finds a worker idle is run at once; those that come while all
 * are busy form the next batch. There are as many waiting as callers: whoever admits images bounds them.
 */
export class VisionPool implements AsyncDisposable {
  readonly #workers: readonly SupervisedWorker<VisionWorkerMethods>[];
  readonly #busy = new Set<SupervisedWorker<VisionWorkerMethods>>();
  readonly #batchMax: number;
  readonly #waiting: Waiting[] = [];
  #imagesEncoded = 0;
  #stopping = false;

  private constructor(workers: readonly SupervisedWorker<VisionWorkerMethods>[], batchMax: number) {
    this.#workers = workers;
    this.#batchMax = batchMax;
  }

  /** Rejects when the graph cannot be loaded or run. */
  static async start(model: BuiltModel, options: VisionPoolOptions): Promise<VisionPool> {
    const { threads, batchMax, url = new URL("./vision-worker.ts", import.meta.url), ...rest } = options;
    const share = Math.max(1, Math.floor(availableParallelism() / options.count));
    const data: VisionWorkerData = { model, threads: threads || share };
    let pool: VisionPool | undefined;
    const onChange = () => {
      if (pool) pool.#dispatch();
      options.onChange();
    };
    // One batch under way, and no other before it is back.
    const workers = await startWorkers<VisionWorkerMethods>(url, data, {
      ...rest,
      name: "vision",
      pendingMax: 1,
      onChange,
    });
    pool = new VisionPool(workers, batchMax);
    return pool;
  }

  /** Whether any worker takes images. */
  get ready(): boolean {
    return this.#workers.some((worker) => worker.ready);
  }

  /** Images that went through the graph since the start. */
  get imagesEncoded(): number {
    return this.#imagesEncoded;
  }

  /**
   * Encodes an image, pixels: [size, size, 3], whose buffer moves away. An abort takes it out of the queue; a run under
   * way goes on. Throws a Fault: `unavailable` when no worker is there or the one that ran it crashed.
   */
  encode(pixels: Uint8Array<ArrayBuffer>, signal: AbortSignal): Promise<Features> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const onAbort = () => {
        const index = this.#waiting.indexOf(waiting);
        if (index >= 0) this.#waiting.splice(index, 1);
        reject(toFault(signal.reason));
      };
      const forgetSignal = () => signal.removeEventListener("abort", onAbort);
      const waiting: Waiting = { pixels, resolve, reject, forgetSignal };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#waiting.push(waiting);
      this.#dispatch();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    this.#dispatch();
    await Promise.all(this.#workers.map((worker) => worker[Symbol.asyncDispose]()));
  }

  /** Gives each idle worker a batch. Without any worker there is nothing to wait for. */
  #dispatch(): void {
    if (this.#stopping) this.#refuse("The service is stopping.");
    else if (!this.ready) this.#refuse("The model is being loaded again; try again shortly.");
    for (const worker of this.#workers) {
      if (this.#waiting.length === 0) return;
      if (worker.ready && !this.#busy.has(worker)) void this.#run(worker, this.#waiting.splice(0, this.#batchMax));
    }
  }

  async #run(worker: SupervisedWorker<VisionWorkerMethods>, batch: readonly Waiting[]): Promise<void> {
    this.#busy.add(worker);
    try {
      const pixels = batch.map((waiting) => waiting.pixels);
      const transfer = pixels.map(({ buffer }) => buffer);
      const { features, encodeMs } = await worker.call("encode", pixels, { transfer });
      this.#imagesEncoded += batch.length;
      for (const [index, waiting] of batch.entries()) {
        waiting.resolve({ data: features[index] as Float32Array<ArrayBuffer>, encodeMs });
      }
    } catch (error) {
      for (const waiting of batch) waiting.reject(error);
    } finally {
      for (const waiting of batch) waiting.forgetSignal();
      this.#busy.delete(worker);
      this.#dispatch();
    }
  }

  #refuse(detail: string): void {
    for (const waiting of this.#waiting.splice(0)) {
      waiting.forgetSignal();
      waiting.reject(new Fault("unavailable", detail, { retryAfterS: 1 }));
    }
  }
}
