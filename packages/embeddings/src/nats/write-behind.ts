import { type Tracing, untraced, within } from "@florence/service";

/** What became of one write, and why it was not one: "again" is for a store that is out of reach. */
export type WriteOutcome =
  | { readonly outcome: "written" }
  | { readonly outcome: "refused" | "again"; readonly reason: string };

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
  /** Has a value's writing run as part of the work that it was put in. */
  bind?: Tracing["bind"] | undefined;
  /**
   * Told what became of each value: let go for lack of room or of time is "dropped"; refused or tried too often, "failed", with the
   * reason of its last try.
   */
  onOutcome: (outcome: "written" | "dropped" | "failed", reason?: string) => void;
}

interface Item {
  readonly key: string;
  readonly value: Uint8Array;
  readonly run: ReturnType<Tracing["bind"]>;
  tries: number;
}

// A write fails under way when the store goes; one that fails over and over is not worth holding up the others.
const triesMax = 3;

/**
 * Writes values later than they were put, so that nobody waits for a store; bounded, so that a dead store costs nothing. Without room
 * the oldest value goes: the newest image is likelier to be asked for again.
 */
export class WriteBehind {
  readonly #options: WriteBehindOptions;
  readonly #waiting = new Map<string, Item>();
  readonly #writing = new Set<Item>();
  #bytes = 0;
  #idle = Promise.withResolvers<void>();
  #closed = false;

  constructor(options: WriteBehindOptions) {
    this.#options = options;
    this.#idle.resolve();
  }

  /** Values held now, those being written included. */
  get entries(): number {
    return this.#waiting.size + this.#writing.size;
  }

  /** Their bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes a value, which the caller does not change any more, in place of one that waits under the same key. */
  put(key: string, value: Uint8Array): void {
    const replaced = this.#waiting.get(key);
    if (replaced) this.#forget(replaced);
    if (this.#closed || !this.#makeRoom(value.byteLength)) {
      this.#options.onOutcome("dropped");
      return;
    }
    if (this.entries === 0) this.#idle = Promise.withResolvers();
    const run = (this.#options.bind ?? untraced.bind)();
    this.#enqueue({ key, value, run, tries: 0 });
    this.#pump();
  }

  /** Goes on after a time of not being ready. */
  resume(): void {
    this.#pump();
  }

  /** Writes what is held within the time, lets go of the rest, and takes nothing more. */
  async close(withinMs: number): Promise<void> {
    const ms = this.#options.ready() ? withinMs : 0; // A store that is gone is not waited for.
    this.#pump();
    await within(this.#idle.promise, ms).catch(() => {});
    this.#closed = true;
    for (const item of [...this.#waiting.values()]) this.#drop(item);
  }

  #makeRoom(bytes: number): boolean {
    const { bytesMax, entriesMax } = this.#options;
    while (this.#bytes + bytes > bytesMax || this.entries >= entriesMax) {
      const [oldest] = this.#waiting.values();
      if (oldest === undefined) return false; // All there is is being written.
      this.#drop(oldest);
    }
    return true;
  }

  #drop(item: Item): void {
    this.#forget(item);
    this.#options.onOutcome("dropped");
  }

  #enqueue(item: Item): void {
    this.#waiting.set(item.key, item);
    this.#bytes += item.value.byteLength;
  }

  #forget(item: Item): void {
    this.#waiting.delete(item.key);
    this.#bytes -= item.value.byteLength;
    if (this.entries === 0) this.#idle.resolve();
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
    const written = await item.run(() => this.#options.write(item.key, item.value));
    this.#writing.delete(item);
    this.#bytes -= item.value.byteLength;
    const { onOutcome } = this.#options;
    if (written.outcome === "written") onOutcome("written");
    else if (written.outcome === "refused" || item.tries >= triesMax) onOutcome("failed", written.reason);
    else if (this.#closed) onOutcome("dropped");
    else if (!this.#waiting.has(item.key)) this.#enqueue(item);
    if (this.entries === 0) this.#idle.resolve();
    this.#pump();
  }
}
