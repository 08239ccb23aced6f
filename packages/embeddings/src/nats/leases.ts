import { randomUUID } from "node:crypto";
import { type EmbeddingEvents, unheard } from "../events.ts";
import { type BucketOptions, NatsBucket, NatsRefusal, NatsUnavailable } from "./bucket.ts";
import type { NatsLink } from "./connection.ts";
import { Lease, type LeaseValue, parseLease } from "./lease.ts";

export interface LeasesOptions extends BucketOptions {
  bucket?: string;
  replicas?: number;
  /** How long `acquire` may take; past it the answer is "unavailable". */
  acquireMsMax?: number;
  /** The clock that leases expire by, in Unix milliseconds. Default Date.now. */
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

// A holder's address, a token and a time.
const leaseBytesMax = 1024;

/**
 * Leases on names, held by one process of the cluster at a time, so that an image is encoded once. A lease says itself
 * when it ends, so a dead holder blocks nobody.
 */
export class Leases implements Disposable {
  readonly #bucket: NatsBucket;
  readonly #acquireMsMax: number;
  readonly #now: () => number;
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

  private constructor(bucket: NatsBucket, { acquireMsMax, now, events }: LeasesOptions) {
    this.#bucket = bucket;
    this.#acquireMsMax = acquireMsMax ?? acquireMsMaxDefault;
    this.#now = now ?? Date.now;
    this.#events = events ?? unheard;
  }

  /** Calls that wait for a lease now. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Takes the lease, or says who holds it. `holder` is the address where the others can fetch the result. */
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
        const value = { holder, token, expiresAtMs: this.#now() + ttlMs };
        const options = { timeoutMs: left(), expectedRevision };
        const revision = await this.#bucket.put(key, JSON.stringify(value), options);
        if (revision !== undefined) {
          this.#events.leaseAcquired({ takenOver: expired });
          const taken = { key, value, revision, ttlMs, now: this.#now, events: this.#events };
          return { outcome: "acquired", lease: new Lease(this.#bucket, taken) };
        }
        const entry = await this.#bucket.get(key, left());
        const seen = entry && !entry.deleted ? parseLease(entry.value) : undefined;
        const expiresInMs = seen ? seen.expiresAtMs - this.#now() : 0;
        if (seen && expiresInMs > 0) return { outcome: "held", holder: seen.holder, expiresInMs };
        expired = seen !== undefined;
        expectedRevision = entry?.revision ?? 0;
      }
    } catch (error) {
      if (!(error instanceof NatsUnavailable || error instanceof NatsRefusal)) throw error;
    }
    return { outcome: "unavailable" };
  }

  async #look(key: string): Promise<Look> {
    try {
      const entry = await this.#bucket.get(key, this.#acquireMsMax);
      const value = entry && !entry.deleted ? parseLease(entry.value) : undefined;
      if (value === undefined) return { state: "released" };
      const expiresInMs = value.expiresAtMs - this.#now();
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
