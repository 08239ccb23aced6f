import { Fault, sleep } from "@florence/service";
import { type WorkerCallOptions, WorkerClient, type WorkerClientOptions } from "./client.ts";
import { unheard, type WorkerEvents } from "./events.ts";
import type { WorkerMethods } from "./server.ts";

export interface SupervisedWorkerOptions extends WorkerClientOptions {
  /** Hears when the worker becomes able or unable to take calls. */
  readonly events?: WorkerEvents;
}

// A worker that crashes at once would otherwise be started without pause; the model takes longer to load than the first wait.
const restartMsMin = 200;
const restartMsMax = 30_000;
// A worker that lived this long did not crash because of its start: the next restart is quick again.
const healthyMs = 60_000;

/**
 * A worker that is started again when it crashes, with growing pauses. Calls under way when it crashes fail `unavailable`, and so do
 * calls while it is being started again.
 */
export class SupervisedWorker<M extends WorkerMethods> implements AsyncDisposable {
  readonly #url: URL;
  readonly #data: unknown;
  readonly #options: SupervisedWorkerOptions;
  readonly #events: WorkerEvents;
  readonly #stopping = new AbortController();
  #client: WorkerClient<M> | undefined;
  #supervision: Promise<void> = Promise.resolve();

  private constructor(url: URL, data: unknown, options: SupervisedWorkerOptions) {
    this.#url = url;
    this.#data = data;
    this.#options = options;
    this.#events = options.events ?? unheard;
  }

  /** Starts the worker; rejects when its first start fails. */
  static async start<M extends WorkerMethods>(
    url: URL,
    data: unknown,
    options: SupervisedWorkerOptions,
  ): Promise<SupervisedWorker<M>> {
    const supervised = new SupervisedWorker<M>(url, data, options);
    await supervised.#begin(false);
    supervised.#supervision = supervised.#supervise();
    return supervised;
  }

  get ready(): boolean {
    return this.#client?.alive ?? false;
  }

  /** Calls under way. */
  get pending(): number {
    return this.#client?.pending ?? 0;
  }

  /** As WorkerClient's call; `unavailable` while there is no worker. */
  async call<K extends keyof M & string>(
    method: K,
    payload: Parameters<M[K]>[0],
    options?: WorkerCallOptions,
  ): Promise<Awaited<ReturnType<M[K]>>> {
    if (!this.#client)
      throw new Fault("unavailable", "The model is being loaded again; try again shortly.", { retryAfterS: 1 });
    return this.#client.call(method, payload, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#client?.[Symbol.asyncDispose]();
    await this.#supervision;
  }

  async #begin(restarted: boolean): Promise<void> {
    const { signal } = this.#stopping;
    const beganMs = performance.now();
    this.#client = await WorkerClient.start<M>(this.#url, this.#data, { ...this.#options, signal });
    this.#events.workerReady({ worker: this.#options.name, restarted, ms: performance.now() - beganMs });
  }

  async #supervise(): Promise<void> {
    const { signal } = this.#stopping;
    let pauseMs = restartMsMin;
    while (!signal.aborted) {
      const began = Date.now();
      const crash = await this.#client?.exited;
      if (signal.aborted) return;
      this.#client = undefined;
      this.#events.workerCrashed({ worker: this.#options.name, error: crash });
      pauseMs = Date.now() - began > healthyMs ? restartMsMin : pauseMs;
      while (!this.#client && !signal.aborted) {
        await sleep(pauseMs, signal).catch(() => {});
        if (signal.aborted) return;
        pauseMs = Math.min(restartMsMax, pauseMs * 2);
        await this.#begin(true).catch((error: Error) => {
          if (!signal.aborted) this.#events.workerCrashed({ worker: this.#options.name, error });
        });
      }
    }
  }
}
