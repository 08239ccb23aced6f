import { availableParallelism } from "node:os";
import type { BuiltModel } from "@florence/model";
import { createEvents, Fault, toFault } from "@florence/service";
import { type SupervisedWorker, startWorkers, workerEvents } from "@florence/worker";
import type { EncoderEvents } from "./events.ts";
import type { VisionWorkerData, VisionWorkerMethods } from "./vision-worker.ts";

/** One image's features: [image_tokens, hidden], row-major. */
export interface Features {
  readonly data: Float32Array<ArrayBuffer>;
  /** Milliseconds that the run took which this image was in. */
  readonly encodeMs: number;
}

interface Waiting {
  /** Stands for it in events. */
  readonly image: object;
  readonly sinceMs: number;
  readonly pixels: Uint8Array<ArrayBuffer>;
  readonly resolve: (features: Features) => void;
  readonly reject: (error: unknown) => void;
  readonly forgetSignal: () => void;
}

export interface VisionPoolOptions {
  /** Worker threads. */
  readonly count: number;
  /** Cores that one run may use; 0 shares all among the workers. */
  readonly threads: number;
  /** Images in one run. */
  readonly batchMax: number;
  /** The worker's file; one that serves the methods of vision-worker.ts. */
  readonly url?: URL;
  readonly events: EncoderEvents;
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
  readonly #events: EncoderEvents;
  #stopping = false;

  private constructor(workers: readonly SupervisedWorker<VisionWorkerMethods>[], options: VisionPoolOptions) {
    this.#workers = workers;
    this.#batchMax = options.batchMax;
    this.#events = options.events;
  }

  /** Rejects when the graph cannot be loaded or run. */
  static async start(model: BuiltModel, options: VisionPoolOptions): Promise<VisionPool> {
    const { count, threads, events, url = new URL("./vision-worker.ts", import.meta.url) } = options;
    const share = Math.max(1, Math.floor(availableParallelism() / count));
    const data: VisionWorkerData = { model, threads: threads || share };
    let pool: VisionPool | undefined;
    const dispatch = () => {
      if (pool) pool.#dispatch();
    };
    const workers = await startWorkers<VisionWorkerMethods>(url, data, {
      count,
      name: "vision",
      pendingMax: 1, // One batch under way, and no other before it is back.
      events: createEvents(workerEvents, [{ workerReady: dispatch, workerCrashed: dispatch }, events]),
    });
    pool = new VisionPool(workers, options);
    return pool;
  }

  /** Whether any worker takes images. */
  get ready(): boolean {
    return this.#workers.some((worker) => worker.ready);
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
        if (index >= 0) this.#take(index, 1);
        reject(toFault(signal.reason));
      };
      const forgetSignal = () => signal.removeEventListener("abort", onAbort);
      const image = {};
      const waiting: Waiting = { image, sinceMs: performance.now(), pixels, resolve, reject, forgetSignal };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#waiting.push(waiting);
      this.#events.imageQueued({ image });
      this.#tell();
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
      if (worker.ready && !this.#busy.has(worker)) void this.#run(worker, this.#take(0, this.#batchMax));
    }
  }

  async #run(worker: SupervisedWorker<VisionWorkerMethods>, batch: readonly Waiting[]): Promise<void> {
    this.#busy.add(worker);
    const beganMs = performance.now();
    try {
      const pixels = batch.map((waiting) => waiting.pixels);
      const transfer = pixels.map(({ buffer }) => buffer);
      const { features, encodeMs } = await worker.call("encode", pixels, { transfer });
      this.#events.batchRun({ images: batch.length, encodeMs, members: batch.map(({ image }) => image) });
      for (const [index, waiting] of batch.entries()) {
        this.#events.imageEncoded({ image: waiting.image, queueMs: beganMs - waiting.sinceMs, encodeMs });
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

  /** Takes images out of the queue, in their order. */
  #take(from: number, count: number): Waiting[] {
    const taken = this.#waiting.splice(from, count);
    if (taken.length > 0) this.#tell();
    return taken;
  }

  #tell(): void {
    this.#events.imagesWaiting({ queue: "vision", waiting: this.#waiting.length });
  }

  #refuse(detail: string): void {
    for (const waiting of this.#take(0, this.#waiting.length)) {
      waiting.forgetSignal();
      waiting.reject(new Fault("unavailable", detail, { retryAfterS: 1 }));
    }
  }
}
