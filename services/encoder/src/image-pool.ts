import { measureImage } from "@florence/model/image";
import { Admission, Fault } from "@florence/service";
import { type ProcessCall, ProcessEnded, type ProcessEvents, ProcessPool } from "@florence/worker";
import { DeadlyFiles } from "./deadly-files.ts";
import { type ImageLimits, idleBytesMax, limitsOf, mostBytes } from "./image-limits.ts";
import type { ImageProcessData, ImageRequest, ImageResult } from "./image-process.ts";

/** An image as the vision graph takes it. */
export type Prepared = ImageResult & {
  /** [size, size, 3], RGB; its own memory. */
  readonly pixels: Uint8Array<ArrayBuffer>;
};

export interface ImagePoolOptions extends ImageProcessData {
  /** Processes, each with one image at a time. */
  readonly count: number;
  /** Callers that may wait for a process; those who admit images know how many they let in. */
  readonly waitingMax: number;
  readonly events: ProcessEvents;
  /** What an image may take; limitsOf unless given. */
  readonly limits?: typeof limitsOf;
}

/**
 * Opens, hashes and resizes images in processes that may die of it: native code cannot be stopped in a thread. What takes too long or too
 * much memory is killed, answered as image_undecodable, and costs no other caller.
 */
export class ImagePool implements AsyncDisposable {
  readonly #processes: ProcessPool;
  readonly #large: Admission;
  readonly #pixelsMax: number;
  readonly #limits: typeof limitsOf;
  readonly #deadly = new DeadlyFiles();

  private constructor(processes: ProcessPool, { pixelsMax, waitingMax, limits = limitsOf }: ImagePoolOptions) {
    this.#processes = processes;
    this.#pixelsMax = pixelsMax;
    this.#limits = limits;
    // Whoever waits here holds a place of those who admit images: the other half is for small ones.
    this.#large = new Admission({ running: 1, waiting: waitingMax >> 1 });
  }

  /** Rejects when a process cannot be started. */
  static async start(options: ImagePoolOptions): Promise<ImagePool> {
    const { size, pixelsMax, count, waitingMax, events } = options;
    const processes = await ProcessPool.start(
      new URL("./image-process.ts", import.meta.url),
      { size, pixelsMax } satisfies ImageProcessData,
      {
        name: "image",
        count,
        waitingMax,
        memoryBytesMax: mostBytes(pixelsMax),
        idleBytesMax,
        bodyBytesMax: size * size * 3,
        events,
      },
    );
    return new ImagePool(processes, options);
  }

  /** Whether images are taken: there is a process, or one is about to take the place of one that died. */
  get ready(): boolean {
    return this.#processes.ready;
  }

  /**
   * Prepares an image file, which must not change before this is settled. An abort lets the caller go; decoding, once begun, keeps its
   * process until it ends or is killed, so that what is decoded at one time stays bounded. Throws a Fault or
   * ModelError with one of the codes of an unusable image, `overloaded` or `unavailable`.
   */
  async prepare(
    file: Uint8Array,
    { ignoreOrientation, background }: ImageRequest,
    signal: AbortSignal,
  ): Promise<Prepared> {
    const verdict = this.#deadly.verdictOn(file);
    if (verdict !== undefined) throw new Fault("image_undecodable", verdict);
    // Header walks of our own, in memory that JavaScript keeps: what a file promises is known before native code sees it.
    const limits = this.#limits(measureImage(file), file.length, this.#pixelsMax);
    using _place = limits.large ? await this.#large.acquire(signal) : undefined;
    return await this.#open(file, { ignoreOrientation, background }, limits, signal);
  }

  /** Ends the processes, whatever they do. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#processes[Symbol.asyncDispose]();
  }

  async #open(file: Uint8Array, request: ImageRequest, limits: ImageLimits, signal: AbortSignal): Promise<Prepared> {
    const { timeMsMax, memoryBytesMax } = limits;
    let crashes = 0;
    const onEnded = ({ why }: ProcessEnded) => {
      if (why === "crash") crashes++;
      if (why === "time" || why === "memory" || crashes > 1) this.#deadly.add(file, verdicts[why]);
    };
    const call: ProcessCall = { request, body: file, timeMsMax, memoryBytesMax, onEnded };
    for (;;) {
      try {
        const { result, body } = await this.#processes.call(call, signal);
        return { ...(result as ImageResult), pixels: body };
      } catch (error) {
        if (!(error instanceof ProcessEnded)) throw error;
        // A crash may have been meant for another: a system that is short of memory kills whom it likes.
        if (error.why === "crash" && crashes === 1) continue;
        throw new Fault(error.why === "closed" ? "unavailable" : "image_undecodable", verdicts[error.why], {
          cause: error,
          internal: error.message,
        });
      }
    }
  }
}

const verdicts = {
  time: "The image takes too long to decode.",
  memory: "The image takes too much memory to decode.",
  crash: "The image cannot be decoded.",
  closed: "The service is stopping.",
} as const;
