import { randomUUID } from "node:crypto";
import { LRUCache } from "lru-cache";
import { type EmbeddingEvents, unheard } from "../events.ts";
import { Seal } from "../seal.ts";
import { type BucketEntry, type BucketOptions, NatsBucket, NatsRefusal, NatsUnavailable } from "./bucket.ts";
import type { NatsLink } from "./connection.ts";
import { Lease, type LeaseValue, openLease, sealLease } from "./lease.ts";

export interface LeasesOptions extends BucketOptions {
  /** Default: one without a secret. */
  seal?: Seal;
  bucket?: string;
  replicas?: number;
  /** How long `acquire` may take; past it the answer is "unavailable". */
  acquireMsMax?: number;
  /** The clock that leases of others expire by, in milliseconds; one that nobody sets. Default performance.now. */
  now?: () => number;
}

/** What came of trying to take a lease. Without NATS it is "unavailable": do the work without one. */
export type Acquired =
  | { readonly outcome: "acquired"; readonly lease: Lease }
  | { readonly outcome: "held"; readonly holder: string; readonly expiresInMs: number }
  | { readonly outcome: "unavailable" };

/** Why a wait ended, and the encoder that held the lease, if that was seen. */
export interface Waited<T> {
  readonly ended: "appeared" | "released" | "expired" | "budget" | "unavailable";
  readonly holder: string | undefined;
  /** What appeared. */
  readonly found: T | undefined;
}

export interface WaitOptions<T> {
  budgetMs: number;
  signal?: AbortSignal | undefined;
  /** Looks for what is being waited for. Asked now and then, since a holder may finish and die before it releases. */
  appeared?: (() => Promise<T | undefined>) | undefined;
}

const MiB = 1024 * 1024;

// Three round trips, each a millisecond on a good day; without NATS nobody should notice.
const acquireMsMaxDefault = 100;

// Who loses a race has lost it to somebody; twice in a row is rare, and then that one holds it.
const racesMax = 3;

// Notes of released leases are small; they go after this, which is longer than any lease is held.
const keptMs = 10 * 60_000;

// A released lease wakes who waits at once; this is for what a lost message would have said.
const pollMs = 250;

// Two seals, a holder's address, a token and a time.
const leaseBytesMax = 1024;

// Many times the images that are encoded in the life of a lease; one that is forgotten counts as seen for the first time.
const sightingsMax = 4_096;

/**
 * Leases on names, held by one process of the cluster at a time, so that an image is encoded once. A lease says for how long it is taken; a
 * revision of it that others have seen for that long, each by a clock of its own that nobody sets, has a dead holder and blocks nobody.
 */
export class Leases implements Disposable {
  readonly #bucket: NatsBucket;
  readonly #acquireMsMax: number;
  readonly #seal: Seal;
  readonly #now: () => number;
  // When each key's latest revision was first seen.
  readonly #sightings = new LRUCache<string, { revision: number; atMs: number }>({ max: sightingsMax });
  readonly #events: EmbeddingEvents;
  #waiting = 0;

  /** Opens the leases. Without a server they come up in the background; rejects with a NatsConfigError. */
  static async open(link: NatsLink, options: LeasesOptions = {}): Promise<Leases> {
    const settings = {
      name: options.bucket ?? "florence-leases",
      storage: "memory", // Nothing is lost with it but an encoding, and writes do not wait for a disk.
      ttlMs: keptMs,
      bytesMax: 16 * MiB, // Tens of thousands of images in ten minutes.
      valueBytesMax: leaseBytesMax,
      replicas: options.replicas ?? 1,
    } as const;
    return new Leases(await NatsBucket.open(link, settings, options), options);
  }

  private constructor(bucket: NatsBucket, { acquireMsMax, now, seal, events }: LeasesOptions) {
    this.#bucket = bucket;
    this.#acquireMsMax = acquireMsMax ?? acquireMsMaxDefault;
    this.#seal = seal ?? new Seal();
    this.#now = now ?? (() => performance.now());
    this.#events = events ?? unheard;
  }

  /** Calls that wait for a lease now. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Takes the lease, or says who holds it. `holder` says where the others can fetch the result. */
  async acquire(key: string, holder: string, ttlMs: number): Promise<Acquired> {
    const acquired = await this.#acquire(key, holder, ttlMs);
    if (acquired.outcome === "held") this.#events.leaseHeld({ holder: acquired.holder });
    if (acquired.outcome === "unavailable") this.#events.leaseUnavailable({});
    return acquired;
  }

  /** Waits until the lease ends, something appears, or the budget is used up. Rejects with the signal's reason. */
  async waitFor<T = never>(key: string, { budgetMs, signal, appeared }: WaitOptions<T>): Promise<Waited<T>> {
    this.#waiting++;
    const beganMs = performance.now();
    const untilMs = beganMs + budgetMs;
    const alarm = new Alarm(signal);
    // Before the first look, so that no release falls between the two.
    const stopWatching = this.#bucket.watch(key, () => alarm.ring());
    let holder: string | undefined;
    const end = (ended: Waited<T>["ended"], found?: T): Waited<T> => {
      this.#events.leaseAwaited({ ended, waitedMs: performance.now() - beganMs });
      return { ended, holder, found };
    };
    try {
      while (true) {
        signal?.throwIfAborted();
        const seen = await this.#look(key);
        holder = seen.value?.holder ?? holder;
        const found = await appeared?.();
        if (found !== undefined) return end("appeared", found);
        if (seen.state !== "held" && seen.state !== "slow") return end(seen.state);
        const leftMs = untilMs - performance.now();
        if (leftMs <= 0) return end("budget");
        await alarm.wait(Math.min(leftMs, pollMs, seen.expiresInMs));
      }
    } finally {
      stopWatching();
      alarm[Symbol.dispose]();
      this.#waiting--;
    }
  }

  [Symbol.dispose](): void {
    this.#bucket[Symbol.dispose]();
  }

  async #acquire(key: string, holder: string, ttlMs: number): Promise<Acquired> {
    const untilMs = performance.now() + this.#acquireMsMax;
    const left = () => untilMs - performance.now();
    const token = randomUUID();
    let expectedRevision = 0;
    let expired = false;
    try {
      for (let race = 0; race < racesMax && left() > 0; race++) {
        const value = { holder, token, ttlMs };
        const options = { timeoutMs: left(), expectedRevision };
        const revision = await this.#bucket.put(key, sealLease(this.#seal, key, value), options);
        if (revision !== undefined) {
          this.#events.leaseAcquired({ takenOver: expired });
          const taken = { key, value, revision, seal: this.#seal, events: this.#events };
          return { outcome: "acquired", lease: new Lease(this.#bucket, taken) };
        }
        const entry = await this.#bucket.get(key, left());
        const seen = entry && !entry.deleted ? openLease(this.#seal, key, entry.value) : undefined;
        const expiresInMs = entry && seen ? this.#expiresInMs(key, entry, seen) : 0;
        if (seen && expiresInMs > 0) return { outcome: "held", holder: seen.holder, expiresInMs };
        expired = seen !== undefined;
        // What is no lease of ours is written over.
        if (entry && !entry.deleted && !seen) this.#events.valueCorrupt({ bucket: this.#bucket.settings.name });
        expectedRevision = entry?.revision ?? 0;
      }
    } catch (error) {
      if (!(error instanceof NatsUnavailable || error instanceof NatsRefusal)) throw error;
    }
    return { outcome: "unavailable" };
  }

  /** For how long a lease must still be taken to be alive. */
  #expiresInMs(key: string, { revision }: BucketEntry, { ttlMs }: LeaseValue): number {
    let sighting = this.#sightings.get(key);
    if (sighting?.revision !== revision) {
      sighting = { revision, atMs: this.#now() };
      this.#sightings.set(key, sighting);
    }
    return sighting.atMs + ttlMs - this.#now();
  }

  async #look(key: string): Promise<Look> {
    try {
      const entry = await this.#bucket.get(key, this.#acquireMsMax);
      if (entry === undefined || entry.deleted) return { state: "released" };
      const value = openLease(this.#seal, key, entry.value);
      if (value === undefined) {
        this.#bucket.discard(entry);
        return { state: "released" };
      }
      const expiresInMs = this.#expiresInMs(key, entry, value);
      return expiresInMs > 0 ? { state: "held", value, expiresInMs } : { state: "expired", value };
    } catch (error) {
      if (!(error instanceof NatsUnavailable)) throw error;
      // One slow answer is no reason for all who wait to start encoding.
      return error.kind === "timeout" ? { state: "slow", expiresInMs: pollMs } : { state: "unavailable" };
    }
  }
}

type Look =
  | { readonly state: "held"; readonly value: LeaseValue; readonly expiresInMs: number }
  | { readonly state: "slow"; readonly value?: undefined; readonly expiresInMs: number }
  | { readonly state: "expired"; readonly value: LeaseValue }
  | { readonly state: "released" | "unavailable"; readonly value?: undefined };

// Waiting that can be cut short, also by a ring that came before the wait.
class Alarm implements Disposable {
  readonly #signal: AbortSignal | undefined;
  #rung = false;
  #wake: (() => void) | undefined;

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
    signal?.addEventListener("abort", this.ring);
  }

  readonly ring = (): void => {
    this.#rung = true;
    this.#wake?.();
  };

  async wait(ms: number): Promise<void> {
    if (!this.#rung) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = setTimeout(resolve, ms);
      await promise;
      clearTimeout(timer);
    }
    this.#rung = false;
  }

  [Symbol.dispose](): void {
    this.#signal?.removeEventListener("abort", this.ring);
  }
}
