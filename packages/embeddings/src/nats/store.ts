import { Admission } from "@florence/service";
import type { EmbeddingCodec } from "../codec.ts";
import type { Embedding } from "../embedding.ts";
import { type EmbeddingEvents, unheard } from "../events.ts";
import { isEmbeddingKey } from "../key.ts";
import type { EmbeddingStore, Found } from "../store.ts";
import { type BucketEntry, type BucketOptions, NatsBucket, NatsUnavailable } from "./bucket.ts";
import type { NatsLink } from "./connection.ts";
import { queueTo } from "./queue.ts";
import type { WriteBehind } from "./write-behind.ts";

export interface NatsStoreOptions extends BucketOptions {
  /** Largest stored value: the codec's header and the tensor's bytes, of the checkpoint that is served. */
  valueBytesMax: number;
  codec: EmbeddingCodec;
  bucket?: string;
  /** How long an embedding is kept after it was written. */
  ttlMs?: number;
  /** Bytes the bucket may hold; the oldest embeddings go first. */
  bytesMax?: number;
  replicas?: number;
  /** How long a read may take in all, waiting for others included; past it the answer is a miss. */
  readMsMax?: number;
  /** Bytes and number of embeddings that wait to be written; the oldest go when there are more. */
  queue?: { bytesMax?: number; entriesMax?: number };
  /** How long disposal may go on writing what waits. */
  flushMsMax?: number;
}

const MiB = 1024 * 1024;
const hourMs = 3_600_000;
const tier = "nats";

// A cached read takes milliseconds, an encoding hundreds: past this, computing may as well begin.
const readMsMaxDefault = 100;

// A few large reads fill the line; more only make each other late.
const readsMax = 8;
const readsWaitingMax = 256;

// Of the time for a read: one that began with less left would move megabytes to be late anyway.
const waitingShare = 0.5;

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
  readonly #codec: EmbeddingCodec;
  readonly #readMsMax: number;
  readonly #flushMsMax: number;
  readonly #places: Admission;
  readonly #queue: WriteBehind;
  readonly #events: EmbeddingEvents;

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

  private constructor(bucket: NatsBucket, options: NatsStoreOptions) {
    const { codec, queue, readMsMax, flushMsMax, events = unheard, tracing } = options;
    this.#codec = codec;
    this.#bucket = bucket;
    this.#readMsMax = readMsMax ?? readMsMaxDefault;
    this.#flushMsMax = flushMsMax ?? flushMsMaxDefault;
    this.#events = events;
    this.#places = new Admission({
      running: readsMax,
      waiting: readsWaitingMax,
      waitMsMax: this.#readMsMax * waitingShare,
    });
    this.#queue = queueTo(bucket, events, {
      bytesMax: queue?.bytesMax ?? queueBytesMaxDefault,
      entriesMax: queue?.entriesMax ?? queueEntriesMaxDefault,
      concurrency: writesMax,
      bind: tracing?.bind,
    });
  }

  /** Embeddings that wait to be written, and their bytes. */
  get queued(): { readonly entries: number; readonly bytes: number } {
    const { entries, bytes } = this.#queue;
    return { entries, bytes };
  }

  /** Whether NATS answers; for telling people, not for readiness. */
  get available(): boolean {
    return this.#bucket.available;
  }

  async get(key: string, signal?: AbortSignal): Promise<Embedding | undefined> {
    signal?.throwIfAborted();
    if (!isEmbeddingKey(key)) return this.#miss();
    const entry = await this.#read(key);
    if (entry === undefined) return undefined;
    const decoded = this.#codec.decode(key, entry.value);
    if ("embedding" in decoded) {
      this.#events.embeddingFound({ tier });
      return decoded.embedding;
    }
    this.#bucket.discard(entry);
    return this.#miss();
  }

  async find(key: string, signal?: AbortSignal): Promise<Found | undefined> {
    const embedding = await this.get(key, signal);
    return embedding && { embedding, tier };
  }

  /** Takes a copy to be written later; resolves at once. A store that only reads takes none. */
  async put(key: string, embedding: Embedding): Promise<void> {
    if (this.#bucket.readOnly) return;
    const value = this.#encode(key, embedding);
    if (value === undefined || value.byteLength > this.#bucket.settings.valueBytesMax) {
      this.#events.embeddingRejected({ tier });
      return;
    }
    this.#events.embeddingStored({ tier, bytes: value.byteLength });
    this.#queue.put(key, value);
  }

  /** Nothing: this store is everybody's. */
  async keep(): Promise<void> {}

  async has(key: string, signal?: AbortSignal): Promise<boolean> {
    signal?.throwIfAborted();
    if (!isEmbeddingKey(key)) return false;
    return this.#bucket.holds(key, this.#readMsMax).catch(ifUnavailable(false));
  }

  /** Writes what waits, within a deadline. The connection is its owner's to close. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue.close(this.#flushMsMax);
    this.#bucket[Symbol.dispose]();
  }

  // What the key holds, if that can be had within the time for a read. Says so of whatever is not found.
  async #read(key: string): Promise<BucketEntry | undefined> {
    const untilMs = performance.now() + this.#readMsMax;
    if (!this.#bucket.available) return this.#bucket.sayUnread(new NatsUnavailable("down"));
    // Too many wait already, or this one has waited too long.
    const place = await this.#places.acquire().catch(() => undefined);
    if (place === undefined) return this.#bucket.sayUnread(new NatsUnavailable("timeout"));
    using _place = place;
    try {
      const entry = await this.#bucket.get(key, untilMs - performance.now());
      return entry === undefined || entry.deleted ? this.#miss() : entry;
    } catch (error) {
      return this.#bucket.sayUnread(error);
    }
  }

  #encode(key: string, embedding: Embedding): Uint8Array | undefined {
    try {
      return this.#codec.encode(key, embedding);
    } catch (error) {
      if (error instanceof RangeError) return undefined; // Not whole, or not finite.
      throw error;
    }
  }

  #miss(): undefined {
    this.#events.embeddingMissed({ tier });
  }
}

/** A handler of rejections that answers `value` where NATS is unavailable. */
function ifUnavailable<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof NatsUnavailable) return value;
    throw error;
  };
}
