import type { EmbeddingEvents } from "../events.ts";
import type { NatsBucket } from "./bucket.ts";
import { NatsRefusal, NatsUnavailable } from "./bucket.ts";

/** What the key of a lease holds. */
export interface LeaseValue {
  /** Who holds it: an encoder's host:port, from where the embedding can be fetched. */
  readonly holder: string;
  /** Tells one taking from another. */
  readonly token: string;
  /** Unix milliseconds. Clocks may differ: a holder's that is late costs a wait, one that is early an encoding. */
  readonly expiresAtMs: number;
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
  readonly ttlMs: number;
  readonly now: () => number;
  readonly events: EmbeddingEvents;
}

/** The right to encode one image, renewed until it is released. Losing it does no harm but a second encoding. */
export class Lease implements AsyncDisposable {
  readonly key: string;
  readonly #bucket: NatsBucket;
  readonly #value: LeaseValue;
  readonly #ttlMs: number;
  readonly #now: () => number;
  readonly #events: EmbeddingEvents;
  readonly #timer: NodeJS.Timeout;
  readonly #giveUpAtMs: number;
  #revision: number;
  #lost = false;
  // Writes go one after the other: each must know the revision that the one before made.
  #writing: Promise<unknown> = Promise.resolve();

  /** Made by Leases. */
  constructor(bucket: NatsBucket, { key, value, revision, ttlMs, now, events }: LeaseParts) {
    this.#bucket = bucket;
    this.key = key;
    this.#value = value;
    this.#revision = revision;
    this.#ttlMs = ttlMs;
    this.#now = now;
    this.#events = events;
    this.#giveUpAtMs = performance.now() + heldMsMax;
    this.#timer = setInterval(() => void this.#renewInTime(), ttlMs / renewalsPerTtl);
    this.#timer.unref();
  }

  /** Whether it is known that somebody else may hold it. */
  get lost(): boolean {
    return this.#lost;
  }

  /** Holds it for another time to live; resolves to whether that is certain. Done by itself a few times per time. */
  async renew(): Promise<boolean> {
    if (this.#lost) return false;
    const value: LeaseValue = { ...this.#value, expiresAtMs: this.#now() + this.#ttlMs };
    return this.#write(JSON.stringify(value), false);
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
        const holds = entry && !entry.deleted ? parseLease(entry.value) : undefined;
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

/** Reads a lease's value; undefined for what is none. */
export function parseLease(value: Uint8Array): LeaseValue | undefined {
  try {
    const lease = JSON.parse(Buffer.from(value).toString()) as Partial<LeaseValue>;
    const { holder, token, expiresAtMs } = lease;
    if (typeof holder !== "string" || typeof token !== "string" || typeof expiresAtMs !== "number") return undefined;
    return { holder, token, expiresAtMs };
  } catch {
    return undefined;
  }
}
