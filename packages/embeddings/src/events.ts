import { createEvents, type Events, event } from "@florence/service";
import type { Tier } from "./store.ts";

/** What of a bucket in NATS an event is about: its name. */
interface OfBucket {
  readonly bucket: string;
}

/** A message that went to or came from a bucket. */
interface Moved extends OfBucket {
  /** Of its value. */
  readonly bytes: number;
  readonly ms: number;
}

/** Everything that happens to embeddings, aliases and leases, and to the connection that carries them. */
export const embeddingEvents = {
  embeddingFound: event<{ tier: Tier }>("A store was asked for an embedding and had it."),
  embeddingMissed: event<{ tier: Tier }>("A store was asked for an embedding and did not have it."),
  embeddingStored: event<{ tier: Tier; bytes: number }>("A store took an embedding; NATS gets it later."),
  embeddingRejected: event<{ tier: Tier }>(
    "A store did not take an embedding: it is too large or not what its key says.",
  ),
  embeddingEvicted: event<{ tier: Tier }>("The store in memory forgot an embedding to make room."),
  embeddingExpired: event<{ tier: Tier }>("The store in memory forgot an embedding because of its age."),
  embeddingFetched: event<{ holder: string; result: "found" | "missing" | "unreachable" | "invalid" | "untrusted" }>(
    "The encoder that holds an embedding was asked for it; not where nothing proves that it is an encoder of ours.",
  ),
  aliasFound: event("NATS knew what an image file decodes to."),
  aliasMissed: event("NATS did not know what an image file decodes to."),
  bucketRead: event<Moved & { header: (name: string) => string | undefined }>(
    "NATS answered what a key holds; the message's fields, such as who wrote it.",
  ),
  bucketWritten: event<Moved>("NATS acknowledged a message to a bucket."),
  readTimedOut: event<OfBucket>("NATS took too long to read a value: a miss."),
  readUnavailable: event<OfBucket>("NATS was out of reach for a read: a miss."),
  valueCorrupt: event<OfBucket>("A value in NATS did not verify: a miss."),
  valueWritten: event<OfBucket>("NATS has acknowledged a value."),
  valueDropped: event<OfBucket>("A value was not written, for lack of room or of time."),
  valueFailed: event<OfBucket & { reason: string }>("NATS refused a value, or it was tried too often."),
  leaseAcquired: event<{ takenOver: boolean }>("A lease was taken; taken over from a holder whose time had run out."),
  leaseHeld: event<{ holder: string }>("A lease could not be taken because another encoder holds it."),
  leaseUnavailable: event("NATS could not say who holds a lease."),
  leaseReleased: event("A lease was given back."),
  leaseLost: event("A lease was lost to another encoder while it was held."),
  leaseAwaited: event<{ ended: "appeared" | "released" | "expired" | "budget" | "unavailable"; waitedMs: number }>(
    "Another encoder's lease was waited for.",
  ),
  breakerOpened: event<OfBucket>("A bucket is out of reach: its calls fail at once until a probe has succeeded."),
  natsConnected: event<{ server: string; version: string }>("A connection to NATS was made."),
  natsDisconnected: event<{ reason: string }>("The connection to NATS is gone, or could not be made."),
  natsMisconfigured: event<{ error: Error }>("NATS cannot keep values until somebody changes its settings."),
};

/** Where the stores, leases and connections of this package say what happens. */
export type EmbeddingEvents = Events<typeof embeddingEvents>;

/** For whoever hears nothing. */
export const unheard: EmbeddingEvents = createEvents(embeddingEvents);
