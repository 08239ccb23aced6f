import { LRUCache } from "lru-cache";
import { type Embedding, isWhole } from "./embedding.ts";
import type { EmbeddingStore, Found } from "./store.ts";

/** The bounds of a MemoryStore. */
export interface MemoryStoreOptions {
  /** Bytes of tensors held at most; the least recently used go first. */
  bytesMax: number;
  /** How long an embedding is kept after it was put, in milliseconds. */
  ttlMs: number;
  /** The clock, in Unix milliseconds. Default Date.now. */
  now?: () => number;
}

/** What a MemoryStore has done since it was made, and what it holds now. */
export interface MemoryStoreCounters {
  readonly hits: number;
  readonly misses: number;
  /** Forgotten to make room. */
  readonly evictions: number;
  /** Forgotten because of age. */
  readonly expirations: number;
  /** Not kept, because larger than the whole store. */
  readonly rejections: number;
  readonly entries: number;
  readonly bytes: number;
}

interface Entry {
  readonly embedding: Embedding;
  readonly expiresAtMs: number;
}

// Keys and bookkeeping of an entry, so that very many tiny embeddings are bounded too.
const entryBytes = 1024;

/** An in-process store, bounded in bytes and in age. A value is valid as long as it is held: the key says all of it. */
export class MemoryStore implements EmbeddingStore {
  readonly #cache: LRUCache<string, Entry>;
  readonly #options: Required<MemoryStoreOptions>;
  readonly #counts = { hits: 0, misses: 0, evictions: 0, expirations: 0, rejections: 0 };

  constructor(options: MemoryStoreOptions) {
    this.#options = { now: Date.now, ...options };
    this.#cache = new LRUCache({
      maxSize: options.bytesMax,
      sizeCalculation: ({ embedding }) => embedding.data.byteLength + entryBytes,
      dispose: (_entry, _key, reason) => {
        if (reason === "evict") this.#counts.evictions++;
      },
    });
  }

  async get(key: string): Promise<Embedding | undefined> {
    const entry = this.#fresh(key);
    if (entry === undefined) this.#counts.misses++;
    else this.#counts.hits++;
    if (entry !== undefined) this.#cache.get(key); // Moves it to the front.
    return entry?.embedding;
  }

  async find(key: string): Promise<Found | undefined> {
    const embedding = await this.get(key);
    return embedding && { embedding, tier: "memory" };
  }

  async put(key: string, { dims, data }: Embedding): Promise<void> {
    // A copy: the caller's array may be a view into a received message, or be transferred to a worker next.
    const embedding: Embedding = { dims: [dims[0], dims[1]], data: new Float32Array(data) };
    if (!isWhole(embedding)) throw new RangeError(`${data.length} numbers are no [${dims}] tensor.`);
    if (data.byteLength + entryBytes > this.#options.bytesMax) {
      this.#counts.rejections++;
      this.#cache.delete(key);
      return;
    }
    this.#cache.set(key, { embedding, expiresAtMs: this.#options.now() + this.#options.ttlMs });
  }

  async has(key: string): Promise<boolean> {
    return this.#fresh(key) !== undefined;
  }

  expiresAtMs(key: string): number | undefined {
    return this.#fresh(key)?.expiresAtMs;
  }

  get counters(): MemoryStoreCounters {
    return { ...this.#counts, entries: this.#cache.size, bytes: this.#cache.calculatedSize };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cache.clear();
  }

  // The entry if it is young enough and whole; one whose buffer someone transferred away counts as lost.
  #fresh(key: string): Entry | undefined {
    const entry = this.#cache.peek(key);
    if (entry === undefined) return undefined;
    if (entry.expiresAtMs > this.#options.now() && isWhole(entry.embedding)) return entry;
    this.#counts.expirations++;
    this.#cache.delete(key);
    return undefined;
  }
}
