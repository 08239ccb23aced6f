import { LRUCache } from "lru-cache";
import { type Embedding, isWhole } from "./embedding.ts";
import { type EmbeddingEvents, unheard } from "./events.ts";
import type { EmbeddingStore, Found } from "./store.ts";

/** The bounds of a MemoryStore. */
export interface MemoryStoreOptions {
  /** Bytes of tensors held at most; the least recently used go first. */
  bytesMax: number;
  /** How long an embedding is kept after it was put, in milliseconds. */
  ttlMs: number;
  /** A clock in milliseconds that nobody sets. Default performance.now. */
  now?: () => number;
  /** Hears what happens in the store. */
  events?: EmbeddingEvents;
}

interface Entry {
  readonly embedding: Embedding;
  readonly expiresAtMs: number;
}

// Keys and bookkeeping of an entry, so that very many tiny embeddings are bounded too.
const entryBytes = 1024;
const tier = "memory";

/** An in-process store, bounded in bytes and in age. A value is valid as long as it is held: the key says all of it. */
export class MemoryStore implements EmbeddingStore {
  readonly #cache: LRUCache<string, Entry>;
  readonly #options: Required<MemoryStoreOptions>;

  constructor(options: MemoryStoreOptions) {
    this.#options = { now: () => performance.now(), events: unheard, ...options };
    this.#cache = new LRUCache({
      maxSize: Math.max(1, options.bytesMax), // With 0 nothing is kept: no entry is that small.
      sizeCalculation: ({ embedding }) => embedding.data.byteLength + entryBytes,
      dispose: (_entry, _key, reason) => {
        if (reason === "evict") this.#options.events.embeddingEvicted({ tier });
      },
    });
  }

  async get(key: string): Promise<Embedding | undefined> {
    const entry = this.#fresh(key);
    const { events } = this.#options;
    if (entry === undefined) events.embeddingMissed({ tier });
    else events.embeddingFound({ tier });
    if (entry !== undefined) this.#cache.get(key); // Moves it to the front.
    return entry?.embedding;
  }

  async find(key: string): Promise<Found | undefined> {
    const embedding = await this.get(key);
    return embedding && { embedding, tier };
  }

  async put(key: string, { dims, data }: Embedding): Promise<void> {
    // A copy: the caller's array may be a view into a received message, or be transferred to a worker next.
    const embedding: Embedding = { dims: [dims[0], dims[1]], data: new Float32Array(data) };
    if (!isWhole(embedding)) throw new RangeError(`${data.length} numbers are no [${dims}] tensor.`);
    if (data.byteLength + entryBytes > this.#options.bytesMax) {
      this.#options.events.embeddingRejected({ tier });
      this.#cache.delete(key);
      return;
    }
    this.#cache.set(key, { embedding, expiresAtMs: this.#options.now() + this.#options.ttlMs });
    this.#options.events.embeddingStored({ tier, bytes: data.byteLength });
  }

  async has(key: string): Promise<boolean> {
    return this.#fresh(key) !== undefined;
  }

  async keep(key: string, embedding: Embedding): Promise<void> {
    await this.put(key, embedding);
  }

  expiresInMs(key: string): number | undefined {
    const entry = this.#fresh(key);
    return entry && entry.expiresAtMs - this.#options.now();
  }

  /** Embeddings held now. */
  get entries(): number {
    return this.#cache.size;
  }

  /** Bytes held now, the bookkeeping included. */
  get bytes(): number {
    return this.#cache.calculatedSize;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cache.clear();
  }

  // The entry if it is young enough and whole; one whose buffer someone transferred away counts as lost.
  #fresh(key: string): Entry | undefined {
    const entry = this.#cache.peek(key);
    if (entry === undefined) return undefined;
    if (entry.expiresAtMs > this.#options.now() && isWhole(entry.embedding)) return entry;
    this.#options.events.embeddingExpired({ tier });
    this.#cache.delete(key);
    return undefined;
  }
}
