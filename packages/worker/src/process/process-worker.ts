import { fileURLToPath } from "node:url";
import { Fault, sleep } from "@florence/service";
import type { ProcessEvents } from "../events.ts";
import {
  type ProcessCall,
  ProcessChild,
  ProcessEnded,
  type ProcessOptions,
  type ProcessResult,
} from "./process-child.ts";

/** How a process that is replaced when it dies is started. */
export interface ProcessWorkerOptions extends ProcessOptions {
  /** Resident memory past which a process that has done its work is replaced, in bytes. */
  readonly idleBytesMax: number;
  /** Hears when a process is ended and when another one takes its place. */
  readonly events: ProcessEvents;
}

// One that cannot start, or ends without work, is tried again with growing pauses. One that dies of its work is replaced at once.
const restartMsMin = 200;
const restartMsMax = 30_000;

/** A place for a child process: one that dies, of its work or by itself, is replaced. */
export class ProcessWorker implements AsyncDisposable {
  readonly #file: string;
  readonly #data: object;
  readonly #options: ProcessWorkerOptions;
  readonly #onChange: () => void;
  readonly #stopping = new AbortController();
  #child: ProcessChild | undefined;
  /** Whether the last start failed. */
  #failing = false;
  /** Whether the process has done, or died of, a piece of work. */
  #worked = false;
  #supervision: Promise<void> = Promise.resolve();

  private constructor(url: URL, data: object, options: ProcessWorkerOptions, onChange: () => void) {
    this.#file = fileURLToPath(url);
    this.#data = data;
    this.#options = options;
    this.#onChange = onChange;
  }

  /** Starts the process and waits until it is ready; rejects with its own error where this first start fails. `onChange` must not throw. */
  static async start(
    url: URL,
    data: object,
    options: ProcessWorkerOptions,
    onChange: () => void,
  ): Promise<ProcessWorker> {
    const worker = new ProcessWorker(url, data, options, onChange);
    const child = await worker.#begin();
    worker.#supervision = worker.#supervise(child);
    return worker;
  }

  /** Whether it takes work now. */
  get free(): boolean {
    return this.#child?.free ?? false;
  }

  /** Whether it takes work now or before long: it works, is free, or is being replaced after it died. */
  get ready(): boolean {
    return !this.#failing && !this.#stopping.signal.aborted;
  }

  /** As ProcessChild's call. */
  async call(call: ProcessCall): Promise<ProcessResult> {
    const child = this.#child;
    if (!child) throw new Fault("unavailable", "The service is unavailable.", { internal: "There is no process." });
    this.#worked = true;
    try {
      return await child.call(call);
    } catch (error) {
      if (error instanceof ProcessEnded) call.onEnded?.(error);
      throw error;
    } finally {
      // Memory that a library keeps for its next work would count against work that needs little.
      if (child.free && child.residentBytes > this.#options.idleBytesMax) child.end("closed", "it kept its memory");
      this.#onChange();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort(new Fault("unavailable", "The service is stopping.", { retryAfterS: 1 }));
    this.#child?.end("closed", "the service stops");
    await this.#supervision;
  }

  async #begin(signal?: AbortSignal): Promise<ProcessChild> {
    const child = await ProcessChild.start(this.#file, this.#data, this.#options, signal);
    this.#child = child;
    this.#failing = false;
    this.#worked = false;
    return child;
  }

  async #supervise(first: ProcessChild): Promise<void> {
    const { signal } = this.#stopping;
    const { name, events } = this.#options;
    let ended = first.ended;
    for (let pauseMs = restartMsMin; ; ) {
      const error = await ended;
      this.#child = undefined;
      if (signal.aborted) return;
      if (error.why !== "closed") events.processKilled({ process: name, why: error.why, error });
      pauseMs = this.#worked ? 0 : Math.min(restartMsMax, Math.max(restartMsMin, 2 * pauseMs));
      while (this.#child === undefined) {
        if (pauseMs > 0) await sleep(pauseMs, signal).catch(() => {});
        if (signal.aborted) return;
        try {
          ({ ended } = await this.#begin(signal));
        } catch (failure) {
          if (signal.aborted) return;
          pauseMs = Math.min(restartMsMax, Math.max(restartMsMin, 2 * pauseMs));
          this.#failing = true;
          events.processFailed({ process: name, error: failure as Error });
          this.#onChange();
        }
      }
      events.processReplaced({ process: name });
      this.#onChange();
    }
  }
}
