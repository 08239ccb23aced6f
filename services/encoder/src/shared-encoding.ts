import type { EmbeddingStore, Tier } from "@florence/embeddings";
import type { Leases } from "@florence/embeddings/nats";
import { Encoder } from "@florence/proto/encoder";
import { createClient, type Logger } from "@florence/service";

/** How an embedding was come by. */
export interface Obtained {
  /** It was there; it was made here; or another process made it while this one waited. */
  readonly outcome: "hit" | "miss" | "coalesced";
  /** Where a hit was found. */
  readonly tier?: Tier | undefined;
  /** The encoder that has it, where that is another one. */
  readonly holder?: string | undefined;
  /** Milliseconds of the model's run for this call. */
  readonly encodeMs: number;
}

export interface SharedEncodingParts {
  readonly store: EmbeddingStore;
  /** Without leases there is only this process. */
  readonly leases?: Leases | undefined;
  /** This encoder's address for others; known once its server listens. */
  readonly holder: () => string;
  readonly log: Logger;
}

// Longer than an encoding of a large checkpoint on two cores; it is renewed while the work goes on, and a dead holder blocks the others
// no longer than this.
const leaseMs = 5_000;
// A wait is looked at anew this often, in case that what it waits for will never come.
const waitMs = 10_000;
// An embedding moves in milliseconds; a holder that takes longer is as good as gone.
const fetchMs = 2_000;

/** Makes each embedding once in the cluster: whoever holds the lease encodes, the others wait for it. */
export class SharedEncoding {
  readonly #parts: SharedEncodingParts;

  constructor(parts: SharedEncodingParts) {
    this.#parts = parts;
  }

  /** The embedding found, made by `encode` (which puts it into the store), or waited for. Rejects with the signal's reason. */
  async obtain(key: string, encode: (signal: AbortSignal) => Promise<number>, signal: AbortSignal): Promise<Obtained> {
    const { leases, holder, log } = this.#parts;
    const made = async (): Promise<Obtained> => ({ outcome: "miss", encodeMs: await encode(signal) });
    const hit = await this.#find(key, "hit", signal);
    if (hit) return hit;
    if (!leases) return made();
    for (;;) {
      signal.throwIfAborted();
      const acquired = await leases.acquire(key, holder(), leaseMs);
      // NATS is gone: better to encode a picture twice than to wait for it.
      if (acquired.outcome === "unavailable") return made();
      if (acquired.outcome === "acquired") {
        await using _lease = acquired.lease;
        // Another may have finished between the first look and the lease.
        return (await this.#find(key, "coalesced", signal)) ?? (await made());
      }
      const waited = await leases.waitFor(key, {
        budgetMs: waitMs,
        signal,
        appeared: () => this.#find(key, "coalesced", signal),
      });
      if (waited.found) return waited.found;
      if (waited.ended === "unavailable") return made();
      const heldBy = waited.heldBy ?? acquired.heldBy;
      // It may not have reached NATS yet, so its maker is asked.
      if (waited.ended === "released" && (await this.#isHeldBy(heldBy, key, signal))) {
        return { outcome: "coalesced", holder: heldBy, encodeMs: 0 };
      }
      log.debug({ key, heldBy, ended: waited.ended }, "encoding anew what another did not finish");
    }
  }

  async #find(key: string, outcome: "hit" | "coalesced", signal: AbortSignal): Promise<Obtained | undefined> {
    const found = await this.#parts.store.find(key, signal);
    return found && { outcome, tier: found.tier, encodeMs: 0 };
  }

  async #isHeldBy(address: string, key: string, signal: AbortSignal): Promise<boolean> {
    using client = createClient(Encoder, address);
    try {
      return (await client.getEmbedding({ key }, { signal, deadlineMs: fetchMs })).value.length > 0;
    } catch {
      signal.throwIfAborted();
      return false; // whatever is wrong with it, the picture is encoded again
    }
  }
}
