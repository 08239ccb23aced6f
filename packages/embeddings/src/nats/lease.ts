import type { EmbeddingEvents } from "../events.ts";
import type { Seal } from "../seal.ts";
import type { NatsBucket } from "./bucket.ts";
import { NatsRefusal, NatsUnavailable } from "./bucket.ts";

/** What the key of a lease holds. */
export interface LeaseValue {
  /** Who holds it: an encoder's statement, as HolderAddresses makes it, from where the embedding can be fetched. */
  readonly holder: string;
  /** Tells one taking from another. */
  readonly token: string;
  /** For how many milliseconds it is taken each time that it is written. A duration, because the clocks of machines differ and jump. */
  readonly ttlMs: number;
}

// Giving back and renewing are in nobody's way; after this the lease runs out by itself.
const writeMsMax = 1_000;

// Of the time to live: two renewals may fail before the lease is lost.
const renewalsPerTtl = 3;

// Longer than any call's deadline: work that takes this long is stuck, and somebody else should do it.
const heldMsMax = 120_000;

/** What a Lease is made of. */
interface LeaseParts {
  readonly key: string;
  readonly value: LeaseValue;
  readonly revision: number;
  readonly seal: Seal;
  readonly events: EmbeddingEvents;
}

/** The right to encode one image, renewed until it is released. Losing it does no harm but a second encoding. */
export class Lease implements AsyncDisposable {
  readonly key: string;
  readonly #bucket: NatsBucket;
  readonly #value: LeaseValue;
  readonly #seal: Seal;
  readonly #events: EmbeddingEvents;
  readonly #timer: NodeJS.Timeout;
  readonly #giveUpAtMs: number;
  #revision: number;
  #lost = false;
  // Writes go one after the other: each must know the revision that the one before made.
  #writing: Promise<unknown> = Promise.resolve();

  /** Made by Leases. */
  constructor(bucket: NatsBucket, { key, value, revision, seal, events }: LeaseParts) {
    this.#bucket = bucket;
    this.key = key;
    this.#value = value;
    this.#revision = revision;
    this.#seal = seal;
    this.#events = events;
    this.#giveUpAtMs = performance.now() + heldMsMax;
    this.#timer = setInterval(() => void this.#renewInTime(), value.ttlMs / renewalsPerTtl);
    this.#timer.unref();
  }

  /** Whether it is known that somebody else may hold it. */
  get lost(): boolean {
    return this.#lost;
  }

  /** Holds it for another time to live; resolves to whether that is certain. Done by itself a few times per time. */
  async renew(): Promise<boolean> {
    if (this.#lost) return false;
    return this.#write(sealLease(this.#seal, this.key, this.#value), false);
  }

  /** Gives it back, which wakes those who wait. Does not throw: what cannot be given back runs out. */
  async release(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#lost) return;
    const released = await this.#write("", true);
    this.#lost = true;
    if (released) this.#events.leaseReleased({});
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  async #renewInTime(): Promise<void> {
    if (performance.now() < this.#giveUpAtMs) await this.renew();
    else clearInterval(this.#timer);
  }

  #write(text: string, deletion: boolean): Promise<boolean> {
    const written = this.#writing.then(() => this.#replace(text, deletion));
    this.#writing = written;
    return written;
  }

  async #replace(text: string, deletion: boolean): Promise<boolean> {
    if (this.#lost) return false;
    try {
      const put = (expectedRevision: number) =>
        this.#bucket.put(this.key, text, { timeoutMs: writeMsMax, expectedRevision, deletion });
      let revision = await put(this.#revision);
      if (revision === undefined) {
        // An earlier renewal may have been written although its answer was late: then it is still ours.
        const entry = await this.#bucket.get(this.key, writeMsMax);
        const holds = entry && !entry.deleted ? openLease(this.#seal, this.key, entry.value) : undefined;
        if (entry && holds?.token === this.#value.token) revision = await put(entry.revision);
      }
      if (revision === undefined) this.#lose();
      else this.#revision = revision;
      return revision !== undefined;
    } catch (error) {
      if (error instanceof NatsUnavailable || error instanceof NatsRefusal) return false;
      throw error;
    }
  }

  #lose(): void {
    this.#lost = true;
    this.#events.leaseLost({});
    clearInterval(this.#timer);
  }
}

// Longer than any lease is taken for: one that claims more is not believed for longer.
const ttlMsMax = 60_000;

/** What is stored for a lease. */
export function sealLease(seal: Seal, key: string, value: LeaseValue): string {
  return seal.sealText("lease", key, JSON.stringify(value));
}

/** Reads a lease's value; undefined for what nobody of ours has written under this key. */
export function openLease(seal: Seal, key: string, value: Uint8Array): LeaseValue | undefined {
  const text = seal.openText("lease", key, value);
  try {
    const { holder, token, ttlMs } = JSON.parse(text ?? "") as Partial<LeaseValue>;
    if (typeof holder !== "string" || typeof token !== "string" || typeof ttlMs !== "number") return undefined;
    return { holder, token, ttlMs: Math.min(ttlMs, ttlMsMax) };
  } catch {
    return undefined;
  }
}
