import { type Transferable, Worker } from "node:worker_threads";
import { Fault, toFault } from "@florence/service";
import { type FromWorker, fromWire, type ToWorker } from "./protocol.ts";
import type { WorkerMethods } from "./server.ts";

/** How a WorkerClient treats its worker. */
export interface WorkerClientOptions {
  /** Shown by debuggers and in errors. */
  name: string;
  /** Calls that may be under way at once, cancelled ones included until the worker has let go of them. */
  pendingMax: number;
  /** How long the worker may load before it is given up. Default 300,000: a large checkpoint on a slow disk. */
  startMsMax?: number;
  /** How long disposal waits for the worker to end by itself. Default 10,000: one run of a large model. */
  closeMsMax?: number;
}

/** What one call may carry. */
export interface WorkerCallOptions {
  /** Buffers that move to the worker instead of being copied; they are empty here afterwards. */
  transfer?: readonly Transferable[];
  /** Aborting it rejects the call at once and tells the worker. */
  signal?: AbortSignal | undefined;
  /** Gets what the method emits, in order, before the result. It must not throw. */
  onEvent?: (event: unknown) => void;
}

interface PendingCall {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  onEvent: ((event: unknown) => void) | undefined;
  readonly forgetSignal: () => void;
}

type Payload<M extends WorkerMethods, K extends keyof M> = Parameters<M[K]>[0];
type Result<M extends WorkerMethods, K extends keyof M> = Awaited<ReturnType<M[K]>>;

/** Calls the methods of a worker thread that runs serveWorker. When the worker dies, every call fails `unavailable`. */
export class WorkerClient<M extends WorkerMethods> implements AsyncDisposable {
  readonly #worker: Worker;
  readonly #options: WorkerClientOptions;
  readonly #pending = new Map<number, PendingCall>();
  #nextId = 0;
  #closing = false;
  #dead: Fault | undefined;

  /** Resolves when the worker has ended: with its error when it crashed, with undefined when it was closed. */
  readonly exited: Promise<Error | undefined>;

  private constructor(worker: Worker, options: WorkerClientOptions) {
    this.#worker = worker;
    this.#options = options;
    let crash: Error | undefined;
    worker.on("message", (message: FromWorker) => this.#receive(message));
    const onCrash = (error: unknown) => {
      crash = error instanceof Error ? error : new Error(String(error));
      this.#fail(crash);
    };
    worker.on("error", onCrash);
    worker.on("messageerror", (error) => {
      onCrash(error);
      void worker.terminate();
    });
    this.exited = new Promise((resolve) => {
      worker.once("exit", (code) => {
        if (!this.#closing) crash ??= new Error(`Worker ${options.name} ended with exit code ${code}.`);
        this.#fail(crash ?? new Error(`Worker ${options.name} is closed.`));
        resolve(crash);
      });
    });
  }

  /**
   * Starts the worker and waits until it is ready. Rejects with the worker's own error when it cannot start, and with
   * the signal's reason when that aborts first.
   */
  static async start<M extends WorkerMethods>(
    url: URL,
    workerData: unknown,
    options: WorkerClientOptions & { transfer?: readonly Transferable[]; signal?: AbortSignal },
  ): Promise<WorkerClient<M>> {
    options.signal?.throwIfAborted();
    const { name, transfer = [], signal, startMsMax = 300_000 } = options;
    const worker = new Worker(url, { name, workerData, transferList: [...transfer] });
    const client = new WorkerClient<M>(worker, options);
    const timeout = AbortSignal.timeout(startMsMax);
    try {
      await readiness(worker, client.exited, signal === undefined ? timeout : AbortSignal.any([signal, timeout]));
    } catch (error) {
      client.#closing = true;
      await worker.terminate();
      throw error;
    }
    return client;
  }

  /** Calls under way. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Whether the worker takes calls. */
  get alive(): boolean {
    return this.#dead === undefined && !this.#closing;
  }

  /** Calls a method. Rejects with the worker's error, or a Fault: overloaded, unavailable, or the signal's reason. */
  call<K extends keyof M & string>(
    method: K,
    payload: Payload<M, K>,
    { transfer = [], signal, onEvent }: WorkerCallOptions = {},
  ): Promise<Result<M, K>> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) throw toFault(signal.reason);
      if (this.#dead !== undefined) throw this.#dead;
      if (this.#closing) throw new Fault("unavailable", "The service is stopping.");
      if (this.#pending.size >= this.#options.pendingMax) {
        throw new Fault("overloaded", "The service is at capacity; try again shortly.", { retryAfterS: 1 });
      }
      const id = this.#nextId++;
      this.#post({ type: "call", id, method, payload }, transfer);
      const onAbort = () => {
        // The call stays pending, silently, until the worker answers: only then is it free of it.
        const call = this.#pending.get(id);
        if (call !== undefined) call.onEvent = undefined;
        this.#post({ type: "cancel", id });
        reject(toFault(signal?.reason));
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      const forgetSignal = () => signal?.removeEventListener("abort", onAbort);
      this.#pending.set(id, { resolve: resolve as (value: unknown) => void, reject, onEvent, forgetSignal });
    });
  }

  /** Aborts the calls under way, lets the worker release what it holds, and ends it by force after `closeMsMax`. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      if (this.#dead === undefined) this.#post({ type: "close" });
    }
    const timer = setTimeout(() => void this.#worker.terminate(), this.#options.closeMsMax ?? 10_000);
    await this.exited;
    clearTimeout(timer);
  }

  #post(message: ToWorker, transfer: readonly Transferable[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #receive(message: FromWorker): void {
    if (message.type === "ready" || message.type === "failed") return;
    const call = this.#pending.get(message.id);
    if (call === undefined) return;
    if (message.type === "event") {
      call.onEvent?.(message.event);
      return;
    }
    this.#pending.delete(message.id);
    call.forgetSignal();
    if (message.type === "result") call.resolve(message.value);
    else call.reject(fromWire(message.error));
  }

  #fail(error: Error): void {
    this.#dead ??= new Fault("unavailable", "The service is unavailable.", { cause: error, internal: error.message });
    for (const call of this.#pending.values()) {
      call.forgetSignal();
      call.reject(this.#dead);
    }
    this.#pending.clear();
  }
}

function readiness(worker: Worker, exited: Promise<Error | undefined>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    const onMessage = (message: FromWorker) => {
      if (message.type === "ready") resolve();
      else if (message.type === "failed") reject(fromWire(message.error));
      worker.off("message", onMessage);
    };
    worker.on("message", onMessage);
    void exited.then((error) => reject(error ?? new Error("The worker ended before it was ready.")));
  });
}
