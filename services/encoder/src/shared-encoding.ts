import type { EmbeddingHolders, EmbeddingStore, Tier } from "@florence/embeddings";
import { type Lease, type Leases, TieredStore, type Waited } from "@florence/embeddings/nats";
import { type CallContext, sleep } from "@florence/service";
import type { EncoderEvents } from "./events.ts";

/** How an embedding was come by: it was there; it was made for this call; or for another, which this one joined or waited for. */
export type Outcome = "hit" | "miss" | "coalesced";

/** An embedding that the store has. */
export interface Obtained {
  readonly outcome: Outcome;
  /** Where a hit was found. */
  readonly tier?: Tier | undefined;
  /** Milliseconds of the model's run for this call. */
  readonly encodeMs: number;
}

export interface SharedEncodingParts {
  readonly store: EmbeddingStore;
  /** Without leases there is only this process. */
  readonly leases?: Leases | undefined;
  /** Says of a key that the others can fetch its embedding from this encoder; known once its server listens. */
  readonly holderOf: (key: string) => string;
  readonly holders: EmbeddingHolders;
  readonly events: EncoderEvents;
}

/** When a call's work is of no more use: its signal, and its deadline in milliseconds of performance.now(). */
export type CallEnd = Pick<CallContext, "signal" | "deadline">;

// Renewed while the work goes on; a holder that died blocks the others no longer than this.
const leaseMs = 5_000;

// A queue's worth of runs. Work that takes longer is stuck, and another encoder still has time to do it.
const heldMsMax = 20_000;

// For calls without a deadline; longer than a lease is held.
const patienceMsDefault = 30_000;

// Of the time that a call has left: in the other half it can do the work itself.
const patienceShare = 0.5;

// Write-behind takes milliseconds, on a busy disk a few seconds; past that NATS may never get the value.
const publishMsMax = 3_000;
const publishPollMs = 25;

/** Makes each embedding once in the cluster: whoever holds the lease encodes, the others wait for it. */
export class SharedEncoding implements AsyncDisposable {
  readonly #parts: SharedEncodingParts;
  // As many as images are encoded within publishMsMax.
  readonly #publishing = new Set<Promise<void>>();

  constructor(parts: SharedEncodingParts) {
    this.#parts = parts;
  }

  /**
   * Resolves when the store has the embedding: found, made by `encode` (which puts it there and resolves to the run's
   * milliseconds), or waited for. Without NATS it is made here. Rejects with the signal's reason or what `encode` throws.
   */
  async obtain(key: string, encode: (signal: AbortSignal) => Promise<number>, end: CallEnd): Promise<Obtained> {
    const { leases, holderOf, events } = this.#parts;
    const { signal } = end;
    const hit = await this.#find(key, "hit", signal);
    if (hit) return hit;
    const untilMs = performance.now() + patienceMs(end);
    while (leases && performance.now() < untilMs) {
      signal.throwIfAborted();
      const acquired = await leases.acquire(key, holderOf(key), leaseMs);
      if (acquired.outcome === "unavailable") break;
      if (acquired.outcome === "acquired") return this.#make(acquired.lease, encode, signal);
      const { holder } = acquired;
      const waited = await this.#wait(leases, { key, holder, budgetMs: untilMs - performance.now(), signal });
      if (waited.found) return waited.found;
      events.encodingGivenUp({ key, holder, ended: waited.ended });
      if (waited.ended === "unavailable") break;
    }
    // Better to encode an image twice than to wait for what may not come.
    return { outcome: "miss", encodeMs: await encode(signal) };
  }

  /** Waits until what was made here has reached NATS, which is bounded. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#publishing);
  }

  async #make(lease: Lease, encode: (signal: AbortSignal) => Promise<number>, signal: AbortSignal): Promise<Obtained> {
    const stuck = setTimeout(() => void lease.release(), heldMsMax);
    stuck.unref();
    let made = false;
    try {
      // Another may have finished between the first look and the lease.
      const found = await this.#find(lease.key, "coalesced", signal);
      if (found) return found;
      const encodeMs = await encode(signal);
      made = true;
      return { outcome: "miss", encodeMs };
    } finally {
      clearTimeout(stuck);
      // Not waited for: the answer does not depend on it, and NATS may have gone meanwhile.
      this.#inBackground(made ? this.#publish(lease) : lease.release());
    }
  }

  /**
   * The lease is kept until the value, which is written behind, is in NATS: who comes in between is sent to this
   * encoder, and does not begin anew.
   */
  async #publish(lease: Lease): Promise<void> {
    await lease.renew(); // Wakes those who wait: they can have it from here.
    const { store } = this.#parts;
    const untilMs = performance.now() + publishMsMax;
    if (store instanceof TieredStore) {
      const { remote } = store;
      while (remote.available && performance.now() < untilMs && !(await remote.has(lease.key))) {
        await sleep(publishPollMs);
      }
    }
    await lease.release();
  }

  #inBackground(work: Promise<void>): void {
    const watched = work
      .catch((error: unknown) => this.#parts.events.leaseKept({ error }))
      .finally(() => this.#publishing.delete(watched));
    this.#publishing.add(watched);
  }

  /** Until the embedding is in NATS or at the holder, or the holder is through with it in another way. */
  async #wait(
    leases: Leases,
    wait: { key: string; holder: string; budgetMs: number; signal: AbortSignal },
  ): Promise<Waited<Obtained>> {
    const { key, holder, budgetMs, signal } = wait;
    const untilMs = performance.now() + budgetMs;
    const fromHolder = async (): Promise<Obtained | undefined> => {
      if (holder === this.#parts.holderOf(key)) return undefined; // An earlier life of this encoder.
      const embedding = await this.#parts.holders.fetch(holder, key, signal, untilMs - performance.now());
      if (embedding === undefined) return undefined;
      await this.#parts.store.keep(key, embedding); // The holder writes it to NATS.
      return { outcome: "coalesced", encodeMs: 0 };
    };
    const appeared = async () => (await this.#find(key, "coalesced", signal)) ?? (await fromHolder());
    return await leases.waitFor(key, { budgetMs, signal, appeared });
  }

  async #find(key: string, outcome: "hit" | "coalesced", signal: AbortSignal): Promise<Obtained | undefined> {
    const found = await this.#parts.store.find(key, signal);
    return found && { outcome, tier: found.tier, encodeMs: 0 };
  }
}

function patienceMs({ deadline }: CallEnd): number {
  return deadline === undefined ? patienceMsDefault : (deadline - performance.now()) * patienceShare;
}
