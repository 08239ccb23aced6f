import type { EmbeddingEvents } from "../events.ts";
import { type NatsBucket, NatsRefusal, NatsUnavailable } from "./bucket.ts";
import { WriteBehind, type WriteBehindOptions, type WriteOutcome } from "./write-behind.ts";

// Off everybody's way, so patient: a value has megabytes, and a busy disk stalls for a second.
export const writeMsMax = 2_000;

/** The writes to a bucket that nobody waits for. They rest while it is out of reach, and what becomes of each is said. */
export function queueTo(
  bucket: NatsBucket,
  events: EmbeddingEvents,
  bounds: Pick<WriteBehindOptions, "bytesMax" | "entriesMax" | "concurrency">,
): WriteBehind {
  const about = { bucket: bucket.settings.name };
  const queue = new WriteBehind({
    ...bounds,
    write: (key, value) => write(bucket, key, value),
    ready: () => bucket.available,
    onOutcome: (outcome) => {
      if (outcome === "written") events.valueWritten(about);
      else if (outcome === "dropped") events.valueDropped(about);
      else events.valueFailed(about);
    },
  });
  bucket.onAvailable(() => queue.resume());
  return queue;
}

async function write(bucket: NatsBucket, key: string, value: Uint8Array): Promise<WriteOutcome> {
  try {
    await bucket.put(key, value, { timeoutMs: writeMsMax });
    return "written";
  } catch (error) {
    if (error instanceof NatsRefusal) return "refused";
    if (error instanceof NatsUnavailable) return "again";
    throw error;
  }
}
