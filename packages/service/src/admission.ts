import { Fault } from "./fault.ts";
import { toFault } from "./to-fault.ts";

/** The bounds of an Admission. */
export interface AdmissionOptions {
  /** Slots: how many holders at once. */
  running: number;
  /** How many callers may wait for a slot; a further one is refused. */
  waiting: number;
  /** How long a caller may wait, in milliseconds; then it is refused. Default: as long as its signal lets it. */
  waitMsMax?: number;
  /** What refused callers are told to wait, in seconds. Default 1. */
  retryAfterS?: number;
  /** Told how many callers wait, whenever that changes. */
  onWaiting?: (waiting: number) => void;
}

interface Waiter {
  admit: () => void;
}

/** A semaphore with a short, first-come queue: work beyond both bounds is refused at once instead of piling up. */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #waiters: Waiter[] = [];
  #running = 0;

  constructor(options: AdmissionOptions) {
    if (!(options.running >= 1 && options.waiting >= 0)) throw new RangeError("Admission needs at least one slot.");
    this.#options = options;
  }

  /** Slots taken. */
  get running(): number {
    return this.#running;
  }

  /** Callers in the queue. */
  get waiting(): number {
    return this.#waiters.length;
  }

  /**
   * Waits for a slot and returns it; disposing it frees it, once. Throws a Fault: `overloaded` when the queue is full or
   * the wait too long, or the reason of the signal when it aborts first.
   */
  async acquire(signal?: AbortSignal): Promise<Disposable> {
    if (signal?.aborted) throw toFault(signal.reason);
    if (this.#running < this.#options.running) {
      this.#running++;
      return this.#slot();
    }
    if (this.#waiters.length >= this.#options.waiting) {
      throw this.#refusal();
    }
    await this.#turn(signal);
    return this.#slot();
  }

  // Resolves owning a slot: the one who frees it passes it on without lowering the count.
  #turn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        admit: () => {
          forget();
          resolve();
        },
      };
      const leave = (fault: Fault) => {
        forget();
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        this.#tell();
        reject(fault);
      };
      const onAbort = () => leave(toFault(signal?.reason));
      const { waitMsMax } = this.#options;
      const timer = waitMsMax === undefined ? undefined : setTimeout(() => leave(this.#refusal()), waitMsMax);
      const forget = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
      };
      this.#waiters.push(waiter);
      this.#tell();
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  #tell(): void {
    this.#options.onWaiting?.(this.#waiters.length);
  }

  #refusal(): Fault {
    const retryAfterS = this.#options.retryAfterS ?? 1;
    return new Fault("overloaded", "The service is at capacity; try again shortly.", { retryAfterS });
  }

  #slot(): Disposable {
    let freed = false;
    return {
      [Symbol.dispose]: () => {
        if (freed) return;
        freed = true;
        const next = this.#waiters.shift();
        if (next === undefined) {
          this.#running--;
          return;
        }
        this.#tell();
        next.admit();
      },
    };
  }
}
