/** What became of one write: "again" is for a store that is out of reach. */
export type WriteOutcome = "written" | "refused" | "again";

export interface WriteBehindOptions {
  /** Writes one value. Must end by itself, and not throw. */
  write: (key: string, value: Uint8Array) => Promise<WriteOutcome>;
  /** Whether writing makes sense now; while it does not, values wait until `resume`. */
  ready: () => boolean;
  /** Bytes of values held at most, those being written included. */
  bytesMax: number;
  /** Values held at most. */
  entriesMax: number;
  /** Writes under way at once. */
  concurrency: number;
  /** Which value goes when there is no room. The newest image is likelier to be asked for again: default oldest. */
  drop?: "oldest" | "newest";
}

export interface WriteBehindCounters {
  readonly written: number;
  /** Let go for lack of room or of time. */
  readonly dropped: number;
  /** Refused by the store, or tried too often. */
  readonly failed: number;
  readonly entries: number;
  readonly bytes: number;
}

interface Item {
  readonly key: string;
  readonly value: Uint8Array;
  tries: number;
}

// A write fails under way when the store goes; one that fails over and over is not worth holding up the others.
const triesMax = 3;

/** Writes values later than they were put, so that nobody waits for a store; bounded, so that a dead store costs nothing. */
export class WriteBehind {
  readonly #options: WriteBehindOptions;
  readonly #waiting = new Map<string, Item>();
  readonly #writing = new Set<Item>();
  readonly #counts = { written: 0, dropped: 0, failed: 0 };
  #bytes = 0;
  #idle = Promise.withResolvers<void>();
  #closed = false;

  constructor(options: WriteBehindOptions) {
    this.#options = options;
    this.#idle.resolve();
  }

  get counters(): WriteBehindCounters {
    return { ...this.#counts, entries: this.#waiting.size + this.#writing.size, bytes: this.#bytes };
  }

  /** Takes a value, which the caller does not change any more, in place of one that waits under the same key. */
  put(key: string, value: Uint8Array): void {
    const replaced = this.#waiting.get(key);
    if (replaced) this.#forget(replaced);
    if (this.#closed || !this.#makeRoom(value.byteLength)) {
      this.#counts.dropped++;
      return;
    }
    if (this.#waiting.size + this.#writing.size === 0) this.#idle = Promise.withResolvers();
    this.#enqueue({ key, value, tries: 0 });
    this.#pump();
  }

  /** Goes on after a time of not being ready. */
  resume(): void {
    this.#pump();
  }

  /** Writes what is held within the time, lets go of the rest, and takes nothing more. */
  async close(withinMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.#options.ready() ? withinMs : 0); // A store that is gone is not waited for.
    });
    this.#pump();
    await Promise.race([this.#idle.promise, late]);
    clearTimeout(timer);
    this.#closed = true;
    this.#counts.dropped += this.#waiting.size;
    for (const item of [...this.#waiting.values()]) this.#forget(item);
  }

  #makeRoom(bytes: number): boolean {
    const { bytesMax, entriesMax, drop = "oldest" } = this.#options;
    const full = () => this.#bytes + bytes > bytesMax || this.#waiting.size + this.#writing.size >= entriesMax;
    while (full() && drop === "oldest") {
      const [oldest] = this.#waiting.values();
      if (oldest === undefined) return false; // All there is is being written.
      this.#forget(oldest);
      this.#counts.dropped++;
    }
    return !full();
  }

  #enqueue(item: Item): void {
    this.#waiting.set(item.key, item);
    this.#bytes += item.value.byteLength;
  }

  #forget(item: Item): void {
    this.#waiting.delete(item.key);
    this.#bytes -= item.value.byteLength;
    if (this.#waiting.size + this.#writing.size === 0) this.#idle.resolve();
  }

  #pump(): void {
    for (const item of this.#waiting.values()) {
      if (this.#writing.size >= this.#options.concurrency || !this.#options.ready()) return;
      // Two writes of one key at once could end in the wrong order.
      if ([...this.#writing].some(({ key }) => key === item.key)) continue;
      this.#waiting.delete(item.key);
      this.#writing.add(item);
      void this.#write(item);
    }
  }

  async #write(item: Item): Promise<void> {
    item.tries++;
    const outcome = await this.#options.write(item.key, item.value);
    this.#writing.delete(item);
    this.#bytes -= item.value.byteLength;
    if (outcome === "written") this.#counts.written++;
    else if (outcome === "refused" || item.tries >= triesMax) this.#counts.failed++;
    else if (this.#closed) this.#counts.dropped++;
    else if (!this.#waiting.has(item.key)) this.#enqueue(item);
    if (this.#waiting.size + this.#writing.size === 0) this.#idle.resolve();
    this.#pump();
  }
}
