import { decode, encode } from "../codec.ts";
import type { Embedding } from "../embedding.ts";
import { embeddingKeyDtype } from "../key.ts";
import type { EmbeddingStore, Found } from "../store.ts";
import { type BucketEntry, type BucketOptions, NatsBucket, NatsRefusal, NatsUnavailable } from "./bucket.ts";
import type { NatsLink } from "./connection.ts";
import { ReadSlots } from "./read-slots.ts";
import { WriteBehind, type WriteBehindOptions } from "./write-behind.ts";

export interface NatsStoreOptions extends BucketOptions {
  /** Largest stored value: the codec's header and the tensor's bytes, of the checkpoint that is served. */
  valueBytesMax: number;
  bucket?: string;
  /** How long an embedding is kept after it was written. */
  ttlMs?: number;
  /** Bytes the bucket may hold; the oldest embeddings go first. */
  bytesMax?: number;
  replicas?: number;
  /** How long a read may take in all, waiting for others included; past it the answer is a miss. */
  readMsMax?: number;
  /** Bytes and number of embeddings that wait to be written, and which go when there are more. */
  queue?: { bytesMax?: number; entriesMax?: number; drop?: WriteBehindOptions["drop"] };
  /** How long disposal may go on writing what waits. */
  flushMsMax?: number;
}

/** What a NatsStore has done since it was opened, and what it holds back now. */
export interface NatsStoreCounters {
  readonly hits: number;
  readonly misses: number;
  /** Misses because NATS was slow, and because it was out of reach. Not among `misses`. */
  readonly timeouts: number;
  readonly unavailable: number;
  /** Values that did not verify, and were deleted. Also among `misses`. */
  readonly corrupt: number;
  /** Embeddings given to `put`. */
  readonly puts: number;
  /** Embeddings that NATS has acknowledged. */
  readonly written: number;
  /** Not written: no room in the queue; refused or tried in vain; larger than a value may be or not encodable. */
  readonly dropped: number;
  readonly failed: number;
  readonly rejected: number;
  readonly breakerOpens: number;
  readonly queuedEntries: number;
  readonly queuedBytes: number;
}

const MiB = 1024 * 1024;
const hourMs = 3_600_000;

// A cached read takes milliseconds, an encoding hundreds: past this, computing may as well begin.
const readMsMaxDefault = 100;

// A few large reads fill the line; more only make each other late.
const readsMax = 8;
const readsWaitingMax = 256;

// Of the budget: a read that began with less left would move megabytes to be late anyway.
const waitingShare = 0.5;

// Off everybody's way, so patient: a value has megabytes, and a busy disk stalls for a second.
const writeMsMax = 2_000;

// Two keep the line busy while one is being acknowledged.
const writesMax = 2;

// About 36 embeddings of a base checkpoint: half a minute of a busy encoder.
const queueBytesMaxDefault = 64 * MiB;
const queueEntriesMaxDefault = 1024; // Bounds the bookkeeping of tiny ones.

// A grace period at shutdown; nothing is lost that cannot be computed again.
const flushMsMaxDefault = 2_000;

/** Embeddings in NATS JetStream, for all processes. NATS slow or gone makes misses, never errors and never waits. */
export class NatsStore implements EmbeddingStore {
  readonly #bucket: NatsBucket;
  readonly #readMsMax: number;
  readonly #flushMsMax: number;
  readonly #slots = new ReadSlots({ count: readsMax, waitingMax: readsWaitingMax });
  readonly #queue: WriteBehind;
  readonly #counts = { hits: 0, misses: 0, timeouts: 0, unavailable: 0, corrupt: 0, puts: 0, rejected: 0 };

  /** Opens the store. Without a server it comes up in the background; rejects with a NatsConfigError. */
  static async open(link: NatsLink, options: NatsStoreOptions): Promise<NatsStore> {
    const settings = {
      name: options.bucket ?? "florence-embeddings",
      storage: "file",
      ttlMs: options.ttlMs ?? 24 * hourMs,
      bytesMax: options.bytesMax ?? 1024 * MiB,
      valueBytesMax: options.valueBytesMax,
      replicas: options.replicas ?? 1,
    } as const;
    return new NatsStore(await NatsBucket.open(link, settings, options), options);
  }

  private constructor(bucket: NatsBucket, { queue, readMsMax, flushMsMax }: NatsStoreOptions) {
    this.#bucket = bucket;
    this.#readMsMax = readMsMax ?? readMsMaxDefault;
    this.#flushMsMax = flushMsMax ?? flushMsMaxDefault;
    this.#queue = new WriteBehind({
      write: (key, value) => writeTo(bucket, key, value),
      ready: () => bucket.available,
      bytesMax: queue?.bytesMax ?? queueBytesMaxDefault,
      entriesMax: queue?.entriesMax ?? queueEntriesMaxDefault,
      concurrency: writesMax,
      drop: queue?.drop ?? "oldest",
    });
    bucket.onAvailable(() => this.#queue.resume());
  }

  get counters(): NatsStoreCounters {
    const { written, dropped, failed, entries, bytes } = this.#queue.counters;
    const { breakerOpens } = this.#bucket;
    return { ...this.#counts, written, dropped, failed, breakerOpens, queuedEntries: entries, queuedBytes: bytes };
  }

  /** Whether NATS answers; for telling people, not for readiness. */
  get available(): boolean {
    return this.#bucket.available;
  }

  /** Why the store cannot work, if somebody must do something about it. */
  get problem(): string | undefined {
    return this.#bucket.problem;
  }

  async get(key: string, signal?: AbortSignal): Promise<Embedding | undefined> {
    signal?.throwIfAborted();
    const dtype = embeddingKeyDtype(key);
    if (dtype === undefined) return this.#miss();
    const entry = await this.#read(key);
    if (entry === undefined) return undefined;
    const decoded = decode(entry.value);
    if ("embedding" in decoded && decoded.dtype === dtype) {
      this.#counts.hits++;
      return decoded.embedding;
    }
    this.#counts.corrupt++;
    // Not waited for. If it fails, the embedding that is computed now replaces the value.
    void this.#bucket.deleteRevision(entry.revision, writeMsMax).catch(() => {});
    return this.#miss();
  }

  async find(key: string, signal?: AbortSignal): Promise<Found | undefined> {
    const embedding = await this.get(key, signal);
    return embedding && { embedding, tier: "nats" };
  }

  /** Takes a copy to be written later; resolves at once. */
  async put(key: string, embedding: Embedding): Promise<void> {
    this.#counts.puts++;
    const value = encodeFor(key, embedding);
    if (value === undefined || value.byteLength > this.#bucket.settings.valueBytesMax) this.#counts.rejected++;
    else this.#queue.put(key, value);
  }

  async has(key: string, signal?: AbortSignal): Promise<boolean> {
    signal?.throwIfAborted();
    if (embeddingKeyDtype(key) === undefined) return false;
    return this.#bucket.holds(key, this.#readMsMax).catch(ifUnavailable(false));
  }

  /** Writes what waits, within a deadline. The connection is its owner's to close. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue.close(this.#flushMsMax);
    this.#bucket[Symbol.dispose]();
  }

  // What the key holds, if that can be had within the budget. Counts whatever is not found.
  async #read(key: string): Promise<BucketEntry | undefined> {
    const untilMs = performance.now() + this.#readMsMax;
    if (!this.#bucket.available) {
      this.#counts.unavailable++;
      return undefined;
    }
    if (!(await this.#slots.enter(this.#readMsMax * waitingShare))) {
      this.#counts.timeouts++;
      return undefined;
    }
    try {
      const entry = await this.#bucket.get(key, untilMs - performance.now());
      return entry === undefined || entry.deleted ? this.#miss() : entry;
    } catch (error) {
      if (!(error instanceof NatsUnavailable)) throw error;
      this.#counts[error.kind === "timeout" ? "timeouts" : "unavailable"]++;
      return undefined;
    } finally {
      this.#slots.leave();
    }
  }

  #miss(): undefined {
    this.#counts.misses++;
  }
}

function encodeFor(key: string, embedding: Embedding): Uint8Array | undefined {
  const dtype = embeddingKeyDtype(key);
  try {
    return dtype && encode(embedding, dtype);
  } catch (error) {
    if (error instanceof RangeError) return undefined; // Not whole, or not finite as f16.
    throw error;
  }
}

/** Writes for a WriteBehind. */
export async function writeTo(bucket: NatsBucket, key: string, value: Uint8Array) {
  try {
    await bucket.put(key, value, { timeoutMs: writeMsMax });
    return "written" as const;
  } catch (error) {
    if (error instanceof NatsRefusal) return "refused" as const;
    if (error instanceof NatsUnavailable) return "again" as const;
    throw error;
  }
}

/** A handler of rejections that answers `value` where NATS is unavailable. */
function ifUnavailable<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof NatsUnavailable) return value;
    throw error;
  };
}
