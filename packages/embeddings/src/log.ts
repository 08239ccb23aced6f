import type { Listener, Logger } from "@florence/service";
import type { embeddingEvents } from "./events.ts";

// A store in trouble says so again and again; a person needs to read it once in a while.
const repeatMs = 60_000;
// One that takes some values and refuses others has not recovered.
const quietMs = 10_000;

interface Trouble {
  /** Values that NATS does not have, since the last line. */
  lost: number;
  readonly beganAtMs: number;
  saidAtMs: number;
  lastAtMs: number;
}

/** Logs what an operator should know of NATS: of values that it does not take one line at the beginning, one a minute, one at the end. */
export function logEmbeddings(
  log: Logger,
  { now = () => performance.now() }: { now?: () => number } = {},
): Listener<typeof embeddingEvents> {
  const troubles = new Map<string, Trouble>(); // One for each bucket at most.
  const lost = (bucket: string, reason: string) => {
    const atMs = now();
    const trouble = troubles.get(bucket) ?? {
      lost: 0,
      beganAtMs: atMs,
      saidAtMs: Number.NEGATIVE_INFINITY,
      lastAtMs: atMs,
    };
    troubles.set(bucket, trouble);
    trouble.lost++;
    trouble.lastAtMs = atMs;
    if (atMs - trouble.saidAtMs < repeatMs) return;
    log.warn({ bucket, lost: trouble.lost, reason }, "NATS does not keep values: other processes compute them again");
    trouble.saidAtMs = atMs;
    trouble.lost = 0;
  };
  return {
    natsConnected: (about) => log.info(about, "NATS connected"),
    natsDisconnected: (about) =>
      log.warn(about, "NATS is out of reach: embeddings are computed where it would have had them"),
    natsMisconfigured: ({ error }) => log.error({ err: error }, "NATS cannot keep embeddings"),
    valueFailed: ({ bucket, reason }) => lost(bucket, reason),
    valueDropped: ({ bucket }) => lost(bucket, "too many wait to be written"),
    valueWritten: ({ bucket }) => {
      const trouble = troubles.get(bucket);
      const atMs = now();
      if (trouble === undefined || atMs - trouble.lastAtMs < quietMs) return;
      troubles.delete(bucket);
      log.warn(
        { bucket, lost: trouble.lost, s: Math.round((atMs - trouble.beganAtMs) / 1000) },
        "NATS keeps values again",
      );
    },
  };
}
