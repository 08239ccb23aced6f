import {
  type Embedding,
  type EmbeddingHolders,
  type EmbeddingStore,
  embeddingKeyPrefix,
  isEmbeddingKey,
  SingleFlight,
} from "@florence/embeddings";
import type { Encoding } from "@florence/model";
import { Fault } from "@florence/service";
import type { DecoderEvents } from "./events.ts";

export interface EmbeddingSourceParts {
  readonly store: EmbeddingStore;
  readonly holders: EmbeddingHolders;
  readonly encoding: Encoding;
  readonly events: DecoderEvents;
}

/** Finds embeddings: in the store, then at the encoder that holds them. */
export class EmbeddingSource {
  readonly #parts: EmbeddingSourceParts;
  readonly #keyPrefix: string;
  readonly #flights = new SingleFlight<Embedding>();

  constructor(parts: EmbeddingSourceParts) {
    this.#parts = parts;
    this.#keyPrefix = embeddingKeyPrefix(parts.encoding.digest);
  }

  /**
   * The embedding of a key; `holder` is what the encoder that has it has stated, or empty. Throws a Fault: embedding_evicted when no one has
   * it, body_invalid for a key of another form.
   */
  async get(key: string, holder: string, signal: AbortSignal): Promise<Embedding> {
    if (!isEmbeddingKey(key)) throw new Fault("body_invalid", "The embedding key is malformed.");
    // During a rollout encoders and decoders may differ: numbers of other weights mean nothing to these.
    if (!key.startsWith(this.#keyPrefix)) throw this.#gone("checkpoint");
    const { value } = await this.#flights.run(key, (shared) => this.#find(key, holder, shared), signal);
    return value;
  }

  async #find(key: string, holder: string, signal: AbortSignal): Promise<Embedding> {
    const { store, holders, encoding, events } = this.#parts;
    const beganMs = performance.now();
    const stored = await store.find(key, signal);
    if (stored) {
      const [rows, width] = stored.embedding.dims;
      if (rows !== encoding.dims[0] || width !== encoding.dims[1]) throw this.#gone("dims");
      events.embeddingObtained({ source: stored.tier, ms: performance.now() - beganMs });
      return stored.embedding;
    }
    const fetched = holder ? await holders.fetch(holder, key, signal) : undefined;
    if (!fetched) throw this.#gone("nobody");
    events.embeddingObtained({ source: "holder", ms: performance.now() - beganMs });
    await store.keep(key, fetched); // Encoders are who writes for others.
    return fetched;
  }

  #gone(reason: "checkpoint" | "dims" | "nobody"): Fault {
    this.#parts.events.embeddingGone({ reason });
    return new Fault("embedding_evicted", "The image's embedding is gone: send the image again.", {
      internal: `The embedding is gone: ${reason}.`,
    });
  }
}
