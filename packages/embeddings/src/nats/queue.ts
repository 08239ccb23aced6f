import type { EmbeddingEvents } from "../events.ts";
import { type NatsBucket, NatsRefusal, NatsUnavailable, writeMsMax } from "./bucket.ts";
import { WriteBehind, type WriteBehindOptions, type WriteOutcome } from "./write-behind.ts";

/** The writes to a bucket that nobody waits for. They rest while it is out of reach, and what becomes of each is said. */
export function queueTo(
  bucket: NatsBucket,
  events: EmbeddingEvents,
  bounds: Pick<WriteBehindOptions, "bytesMax" | "entriesMax" | "concurrency" | "bind">,
): WriteBehind {
  const about = { bucket: bucket.settings.name };
  const queue = new WriteBehind({
    ...bounds,
    write: (key, value) => write(bucket, key, value),
    ready: () => bucket.available,
    onOutcome: (outcome, reason = "") => {
      if (outcome === "written") events.valueWritten(about);
      else if (outcome === "dropped") events.valueDropped(about);
      else events.valueFailed({ ...about, reason });
    },
  });
  bucket.onAvailable(() => queue.resume());
  return queue;
}

async function write(bucket: NatsBucket, key: string, value: Uint8Array): Promise<WriteOutcome> {
  try {
    await bucket.put(key, value, { timeoutMs: writeMsMax });
    return { outcome: "written" };
  } catch (error) {
    if (error instanceof NatsRefusal) return { outcome: "refused", reason: error.message };
    if (error instanceof NatsUnavailable) return { outcome: "again", reason: error.message };
    throw error;
  }
}
