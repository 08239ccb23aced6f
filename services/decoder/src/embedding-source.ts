import {
  decode,
  type Embedding,
  type EmbeddingStore,
  embeddingKeyPrefix,
  isEmbeddingKey,
  SingleFlight,
} from "@florence/embeddings";
import { createClient } from "@florence/grpc";
import type { Encoding } from "@florence/model";
import { Encoder } from "@florence/proto/encoder";
import { type Client, Fault } from "@florence/service";

// Encoders that embeddings were fetched from; a cluster has fewer, and a closed channel is opened again when needed.
const clientsMax = 64;
// A fetch moves at most 2.4 MB inside the cluster; an encoder that takes longer is as good as gone.
const fetchMs = 2_000;

/** Finds embeddings: in the store, then at the encoder that made them. */
export class EmbeddingSource implements AsyncDisposable {
  readonly #store: EmbeddingStore;
  readonly #dims: readonly [number, number];
  readonly #keyPrefix: string;
  readonly #flights = new SingleFlight<Embedding>();
  readonly #clients = new Map<string, Client<typeof Encoder>>();

  constructor(store: EmbeddingStore, { dims, digest }: Encoding) {
    this.#store = store;
    this.#dims = dims;
    this.#keyPrefix = embeddingKeyPrefix(digest);
  }

  /** Throws a Fault: embedding_evicted when no one has it, body_invalid for a key of another form. */
  async get(key: string, holder: string, signal: AbortSignal): Promise<Embedding> {
    if (!isEmbeddingKey(key)) throw new Fault("body_invalid", "The embedding key is malformed.");
    // During a rollout encoders and decoders may differ: numbers of other weights mean nothing to these.
    if (!key.startsWith(this.#keyPrefix)) throw evicted(new Error("the embedding is of another checkpoint"));
    const { value } = await this.#flights.run(key, (shared) => this.#find(key, holder, shared), signal);
    return value;
  }

  async #find(key: string, holder: string, signal: AbortSignal): Promise<Embedding> {
    const stored = await this.#store.get(key, signal);
    if (stored) return this.#checked(stored);
    if (!holder) throw evicted();
    let value: Uint8Array;
    try {
      ({ value } = await this.#client(holder).getEmbedding({ key }, { signal, deadlineMs: fetchMs }));
    } catch (cause) {
      signal.throwIfAborted();
      // Whatever is wrong with the holder, the way on is the same: the image must be encoded again.
      throw evicted(cause);
    }
    const decoded = decode(value);
    if ("problem" in decoded) throw evicted(new Error(`the holder's value does not verify: ${decoded.problem}`));
    const embedding = this.#checked(decoded.embedding);
    await this.#store.put(key, embedding);
    return embedding;
  }

  #checked(embedding: Embedding): Embedding {
    if (embedding.dims[0] !== this.#dims[0] || embedding.dims[1] !== this.#dims[1]) {
      throw evicted(new Error(`an embedding of [${embedding.dims}] where the checkpoint has [${this.#dims}]`));
    }
    return embedding;
  }

  #client(holder: string): Client<typeof Encoder> {
    const known = this.#clients.get(holder);
    if (known) return known;
    if (this.#clients.size >= clientsMax) {
      const [oldest, client] = this.#clients.entries().next().value as [string, Client<typeof Encoder>];
      this.#clients.delete(oldest);
      client.close();
    }
    const client = createClient(Encoder, holder);
    this.#clients.set(holder, client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }
}

function evicted(cause?: unknown): Fault {
  return new Fault("embedding_evicted", "The image's embedding is gone: send the image again.", { cause });
}
