export interface BreakerOptions {
  /** Failures in a row that open it. */
  failuresMax: number;
  /** How long after opening it is probed, and how long after a probe that failed, in milliseconds. */
  probeAfterMs: number;
  /** Tries whether the other side works again; rejects while it does not. It must end by itself. */
  probe: () => Promise<void>;
  /** Called each time it has gone from closed to open, and each time it has closed. */
  onOpen?: () => void;
  onClose?: () => void;
}

/**
 * A circuit breaker. While it is open nobody needs to try and wait: a probe in the background, half-open, finds out
 * when it may close, so no caller pays for that. It starts open, and `probeNow` closes it the first time.
 */
export class Breaker implements Disposable {
  readonly #options: BreakerOptions;
  #closed = false;
  #failures = 0;
  // Counts openings: a probe that began before the latest one says nothing about it.
  #epoch = 0;
  #timer: NodeJS.Timeout | undefined;
  #probing: Promise<void> | undefined;
  #disposed = false;

  constructor(options: BreakerOptions) {
    this.#options = options;
  }

  get closed(): boolean {
    return this.#closed;
  }

  success(): void {
    this.#failures = 0;
  }

  failure(): void {
    this.#failures++;
    if (this.#closed && this.#failures >= this.#options.failuresMax) this.open();
  }

  /** Opens it at once, as when the connection is known to be gone. */
  open(): void {
    const closed = this.#closed;
    this.#closed = false;
    this.#epoch++;
    this.#schedule();
    if (closed) this.#options.onOpen?.();
  }

  /** Probes without waiting for the time; resolves when the outcome is known. */
  async probeNow(): Promise<void> {
    // One under way may have begun on a connection that is gone: let it end, then look again.
    await this.#probing;
    this.#probing ??= this.#probe().finally(() => {
      this.#probing = undefined;
    });
    await this.#probing;
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#closed = false;
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#disposed) return;
    this.#timer = setTimeout(() => void this.probeNow(), this.#options.probeAfterMs);
    this.#timer.unref();
  }

  async #probe(): Promise<void> {
    if (this.#closed || this.#disposed) return;
    clearTimeout(this.#timer);
    const epoch = this.#epoch;
    const works = await this.#options.probe().then(
      () => true,
      () => false,
    );
    if (this.#disposed) return;
    if (!works || epoch !== this.#epoch) return this.#schedule();
    this.#failures = 0;
    this.#closed = true;
    this.#options.onClose?.();
  }
}
