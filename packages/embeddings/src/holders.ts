import { toFault } from "@florence/service";
import type { EmbeddingCodec } from "./codec.ts";
import type { Embedding } from "./embedding.ts";
import { type EmbeddingEvents, unheard } from "./events.ts";
import type { HolderAddresses } from "./holder-address.ts";

/** The encoder that holds an embedding, whatever carries the call: florence.v1.Encoder's client has this form. */
export interface Holder {
  getEmbedding(
    request: { key: string },
    options: { signal: AbortSignal; deadlineMs: number },
  ): Promise<{ readonly value: Uint8Array }>;
  close(): void;
}

/** How holders are reached, and what their embeddings must be. */
export interface HoldersOptions {
  /** Opens a client of the encoder at host:port; throws for what is no address. */
  readonly connect: (address: string) => Holder;
  /** [image tokens, hidden size] of the checkpoint that is served. */
  readonly dims: readonly [number, number];
  readonly codec: EmbeddingCodec;
  /** Which addresses are connected to. */
  readonly addresses: HolderAddresses;
  readonly events?: EmbeddingEvents;
}

// It moves at most 2.4 MB inside the cluster. An encoder that takes longer is as good as gone: encoding again takes about as long.
const fetchMsMax = 2_000;
// A cluster has fewer encoders; a client that was closed is opened again when it is needed.
const clientsMax = 64;

/** Fetches embeddings from the encoders that hold them. */
export class EmbeddingHolders implements Disposable {
  readonly #options: HoldersOptions;
  readonly #events: EmbeddingEvents;
  // In the order of their last use.
  readonly #clients = new Map<string, Holder>();

  constructor(options: HoldersOptions) {
    this.#options = options;
    this.#events = options.events ?? unheard;
  }

  /**
   * The embedding of a key from its holder, which is what that one stated; undefined where that is no statement of ours, has none, cannot be
   * reached in time, or sends what does not verify: whoever asks has other ways to it. `msMax` shortens the time. Rejects only with the signal's reason.
   */
  async fetch(holder: string, key: string, signal: AbortSignal, msMax = fetchMsMax): Promise<Embedding | undefined> {
    const address = this.#options.addresses.read(key, holder);
    if (address === undefined) {
      // What it says is somebody's words.
      this.#events.embeddingFetched({ holder: "", result: "untrusted" });
      return undefined;
    }
    let value: Uint8Array;
    try {
      const deadlineMs = Math.max(1, Math.min(msMax, fetchMsMax));
      ({ value } = await this.#client(address).getEmbedding({ key }, { signal, deadlineMs }));
    } catch (error) {
      signal.throwIfAborted();
      const missing = toFault(error).code === "embedding_evicted";
      this.#events.embeddingFetched({ holder: address, result: missing ? "missing" : "unreachable" });
      return undefined;
    }
    const embedding = this.#verified(value, key);
    this.#events.embeddingFetched({ holder: address, result: embedding ? "found" : "invalid" });
    return embedding;
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  /** What the value holds, if it is this key's and of the checkpoint's dims. */
  #verified(value: Uint8Array, key: string): Embedding | undefined {
    const decoded = this.#options.codec.decode(key, value);
    if ("flaw" in decoded) return undefined;
    const [rows, width] = decoded.embedding.dims;
    return rows === this.#options.dims[0] && width === this.#options.dims[1] ? decoded.embedding : undefined;
  }

  #client(address: string): Holder {
    const client = this.#clients.get(address) ?? this.#options.connect(address);
    this.#clients.delete(address);
    this.#clients.set(address, client);
    const [oldest] = this.#clients.entries();
    if (oldest && this.#clients.size > clientsMax) {
      this.#clients.delete(oldest[0]);
      oldest[1].close();
    }
    return client;
  }
}
