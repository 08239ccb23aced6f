import type { Embedding } from "./embedding.ts";

/** Where an embedding was found: in this process, or in the cluster's NATS. */
export type Tier = "memory" | "nats";

/** An embedding and where it was found. */
export interface Found {
  readonly embedding: Embedding;
  readonly tier: Tier;
}

/** Keeps embeddings by key. A store may forget at any time, so a miss is always a valid answer. */
export interface EmbeddingStore extends AsyncDisposable {
  /** The embedding under the key, or undefined; never a value that does not verify. */
  get(key: string, signal?: AbortSignal): Promise<Embedding | undefined>;
  /** As `get`, and says where it was. */
  find(key: string, signal?: AbortSignal): Promise<Found | undefined>;
  /** Keeps an embedding, replacing what the key held. A store that cannot keep it drops it without an error. */
  put(key: string, embedding: Embedding): Promise<void>;
  /** As `put`, in this process alone: for what others have, or what another process says of it. */
  keep(key: string, embedding: Embedding): Promise<void>;
  /** Tells whether `get` would find the key, without the cost of the value. */
  has?(key: string, signal?: AbortSignal): Promise<boolean>;
  /** For how many milliseconds more the key is expected to be found; undefined when it is not held. */
  expiresInMs?(key: string): number | undefined;
}
