import { Fault } from "@florence/service";
import { atCapacity } from "./places.ts";
import { Shares } from "./shares.ts";

/** How bodies may come in. */
export interface UploadsOptions {
  /** Bodies being received at one time, of all callers and of one. */
  readonly max: number;
  readonly callerMax: number;
  /** What a body must bring on average; 0: nothing. */
  readonly bytesPerSecondMin: number;
}

/** One body on its way. Dispose it when it has come, or is given up. */
export interface Upload extends Disposable {
  /** Fires with a Fault where its sender is too slow. */
  readonly signal: AbortSignal;
  received(bytes: number): void;
}

interface Sender {
  readonly caller: string;
  /** When it is too slow, unless more comes (performance.now). */
  dueAt: number;
  readonly controller: AbortController;
}

// What every sender may take for its first bytes: a slow network's round trips.
const firstMs = 1_000;
// What a fast sender may save up for a pause: a phone that changes its cell.
const pauseMsMax = 5_000;
// A sender that has brought nothing for this long makes room when there is none. A body that is there is read within one turn of the loop.
const idleMs = 250;
const sweepMs = 250;

/**
 * The bodies being received. Who sends slower than the least rate is cut off; when there is no room, whoever is furthest behind makes
 * some. Who sends at a usual speed is neither.
 */
export class Uploads {
  readonly #options: UploadsOptions;
  readonly #senders = new Set<Sender>();
  readonly #shares = new Shares();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #sweptAt = 0;

  constructor(options: UploadsOptions) {
    this.#options = options;
  }

  /** Bodies under way. */
  get size(): number {
    return this.#senders.size;
  }

  /** Throws `overloaded` when there is no room and nobody is slow. */
  open(caller: string): Upload {
    const { max, callerMax, bytesPerSecondMin } = this.#options;
    const ownFull = this.#shares.get(caller) >= callerMax;
    if ((ownFull || this.#senders.size >= max) && !this.#makeRoom(ownFull ? caller : undefined)) throw atCapacity();
    const now = performance.now();
    const sender: Sender = { caller, dueAt: now + firstMs, controller: new AbortController() };
    this.#senders.add(sender);
    this.#shares.add(caller, 1);
    if (this.#timer === undefined) this.#sweepLater();
    return {
      signal: sender.controller.signal,
      received: (bytes) => {
        const earned = (1000 * bytes) / bytesPerSecondMin;
        sender.dueAt = Math.min(sender.dueAt + earned, performance.now() + pauseMsMax);
      },
      [Symbol.dispose]: () => this.#close(sender),
    };
  }

  #close(sender: Sender): void {
    if (!this.#senders.delete(sender)) return;
    this.#shares.add(sender.caller, -1);
    if (this.#senders.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #cut(sender: Sender): void {
    this.#close(sender);
    sender.controller.abort(new Fault("body_too_slow", "The body came too slowly. Send it again, without pauses."));
  }

  /** Cuts off the sender that is furthest behind, of one caller or of the caller that has the most. Whether there was one. */
  #makeRoom(caller: string | undefined): boolean {
    const now = performance.now();
    const has = (sender: Sender) => (caller === undefined ? this.#shares.get(sender.caller) : 0);
    let worst: Sender | undefined;
    for (const sender of this.#senders) {
      if (caller !== undefined && sender.caller !== caller) continue;
      if (sender.dueAt - now > firstMs - idleMs) continue;
      const worse = worst === undefined ? 1 : has(sender) - has(worst) || worst.dueAt - sender.dueAt;
      if (worse > 0) worst = sender;
    }
    if (worst === undefined) return false;
    this.#cut(worst);
    return true;
  }

  #sweepLater(): void {
    this.#sweptAt = performance.now();
    this.#timer = setTimeout(() => this.#sweep(), sweepMs);
  }

  #sweep(): void {
    const now = performance.now();
    // Where the loop was held up, what has come meanwhile is not read yet: that is not the senders' fault.
    const late = now - this.#sweptAt > 2 * sweepMs;
    if (!late && this.#options.bytesPerSecondMin > 0) {
      for (const sender of [...this.#senders]) if (sender.dueAt < now) this.#cut(sender);
    }
    if (this.#senders.size > 0) this.#sweepLater();
  }
}
