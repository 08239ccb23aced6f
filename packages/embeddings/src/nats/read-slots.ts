/** Lets a few callers at a time through, the others in order; each waits no longer than it says. */
export class ReadSlots {
  readonly #waitingMax: number;
  #free: number;
  // In order of arrival; each is called with its slot, or leaves by itself when its time is up.
  readonly #waiting = new Set<() => void>();

  constructor({ count, waitingMax }: { count: number; waitingMax: number }) {
    this.#free = count;
    this.#waitingMax = waitingMax;
  }

  /** Whether a slot was had within the time. Who had one must give it back with `leave`. */
  async enter(withinMs: number): Promise<boolean> {
    if (this.#free > 0) {
      this.#free--;
      return true;
    }
    if (this.#waiting.size >= this.#waitingMax) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const take = () => resolve(true);
    this.#waiting.add(take);
    const timer = setTimeout(() => {
      if (this.#waiting.delete(take)) resolve(false);
    }, withinMs);
    return promise.finally(() => clearTimeout(timer));
  }

  leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free++;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
