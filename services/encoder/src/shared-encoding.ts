import { setTimeout as sleep } from "node:timers/promises";
import type { Embedding, EmbeddingStore, Tier } from "@florence/embeddings";
import { type Lease, type Leases, TieredStore, type Waited } from "@florence/embeddings/nats";
import { createClient } from "@florence/grpc";
import { Encoder } from "@florence/proto/encoder";
import type { CallContext, Logger } from "@florence/service";
import { fetchEmbedding } from "./fetch-embedding.ts";

/** How an embedding was come by. */
export interface Obtained {
  /** It was there; it was made here; or another process made it while this one waited. */
  readonly outcome: "hit" | "miss" | "coalesced";
  /** Where a hit was found. */
  readonly tier?: Tier | undefined;
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

/** What limits a wait: the signal, and the deadline of the call that it is for, in Unix milliseconds. */
export type Limits = Pick<CallContext, "signal" | "deadline">;

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
  async obtain(key: string, encode: (signal: AbortSignal) => Promise<number>, limits: Limits): Promise<Obtained> {
    const { leases, holder, log } = this.#parts;
    const { signal } = limits;
    const hit = await this.#find(key, "hit", signal);
    if (hit) return hit;
    const untilMs = performance.now() + patienceMs(limits);
    while (leases && performance.now() < untilMs) {
      signal.throwIfAborted();
      const acquired = await leases.acquire(key, holder(), leaseMs);
      if (acquired.outcome === "unavailable") break;
      if (acquired.outcome === "acquired") return this.#make(acquired.lease, encode, signal);
      const { heldBy } = acquired;
      const waited = await this.#wait(leases, { key, heldBy, budgetMs: untilMs - performance.now(), signal });
      if (waited.found) return waited.found;
      log.debug({ key, heldBy, ended: waited.ended }, "another encoder did not finish an image");
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
      .catch((err: unknown) => this.#parts.log.error({ err }, "a lease was not given back"))
      .finally(() => this.#publishing.delete(watched));
    this.#publishing.add(watched);
  }

  /** Until the embedding is in NATS or at the holder, or the holder is through with it in another way. */
  async #wait(
    leases: Leases,
    wait: { key: string; heldBy: string; budgetMs: number; signal: AbortSignal },
  ): Promise<Waited<Obtained>> {
    const { key, heldBy, budgetMs, signal } = wait;
    using client = createClient(Encoder, heldBy);
    const fromHolder = async (): Promise<Obtained | undefined> => {
      if (heldBy === this.#parts.holder()) return undefined; // An earlier life of this encoder.
      const embedding = await fetchEmbedding(client, key, signal);
      if (embedding === undefined) return undefined;
      await this.#keep(key, embedding);
      return { outcome: "coalesced", encodeMs: 0 };
    };
    const appeared = async () => (await this.#find(key, "coalesced", signal)) ?? (await fromHolder());
    return await leases.waitFor(key, { budgetMs, signal, appeared });
  }

  async #find(key: string, outcome: "hit" | "coalesced", signal: AbortSignal): Promise<Obtained | undefined> {
    const found = await this.#parts.store.find(key, signal);
    return found && { outcome, tier: found.tier, encodeMs: 0 };
  }

  /** In this process alone where there is a choice: the holder writes it to NATS. */
  async #keep(key: string, embedding: Embedding): Promise<void> {
    const { store } = this.#parts;
    await (store instanceof TieredStore ? store.memory : store).put(key, embedding);
  }
}

function patienceMs({ deadline }: Limits): number {
  return deadline === undefined ? patienceMsDefault : (deadline - Date.now()) * patienceShare;
}
