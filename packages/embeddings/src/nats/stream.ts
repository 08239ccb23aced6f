import {
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { errors, type NatsConnection, nanos } from "@nats-io/transport-node";
import { NatsConfigError } from "./connection.ts";

/** What a bucket is for, and its bounds. */
export interface BucketSettings {
  /** Letters, digits, - and _. */
  name: string;
  storage: "file" | "memory";
  /** How long a value is kept after it was written, in milliseconds. */
  ttlMs: number;
  /** Bytes held at most; the oldest values go first. */
  bytesMax: number;
  /** Largest value in bytes. */
  valueBytesMax: number;
  /** Servers of the cluster that hold each value. One is right for a cache: what is lost is computed again. */
  replicas: number;
}

// Room for a subject and headers in a message.
const overheadBytes = 4096;

// Creating a stream takes about 10 ms; in a cluster that elects a leader, up to seconds.
const requestMsMax = 2_000;

/** The stream behind a bucket, named as the KV clients of NATS name it, so that they can look into it. */
export const streamOf = (bucket: string): string => `KV_${bucket}`;

/**
 * Creates the bucket's stream, or brings an existing one to the settings. Created directly and not by the KV client:
 * that one makes full buckets refuse what is new, and a cache forgets what is old. Throws a NatsConfigError for what a
 * later try would not change, another error for a server that cannot answer now.
 */
export async function ensureStream(connection: NatsConnection, settings: BucketSettings): Promise<void> {
  const payloadMax = connection.info?.max_payload ?? 0;
  if (payloadMax < settings.valueBytesMax + overheadBytes) {
    throw new NatsConfigError(
      `The NATS server takes messages of ${payloadMax} bytes, and a value has up to ${settings.valueBytesMax}: ` +
        "set max_payload to 8MB in its configuration.",
    );
  }
  try {
    const { streams } = await jetstreamManager(connection, { checkAPI: false, timeout: requestMsMax });
    const wanted = streamConfig(settings);
    const found = await streams.info(wanted.name).catch((error) => {
      if (isMissing(error)) return undefined;
      throw error;
    });
    if (found === undefined) await streams.add(wanted);
    else if (differs(found.config, wanted)) await streams.update(wanted.name, changeable(wanted));
  } catch (error) {
    throw toConfigError(error, settings.name) ?? error;
  }
}

/** Finds the stream that somebody else has made. Throws as ensureStream does, and an Error while there is none. */
export async function findStream(connection: NatsConnection, bucket: string): Promise<void> {
  try {
    const { streams } = await jetstreamManager(connection, { checkAPI: false, timeout: requestMsMax });
    await streams.info(streamOf(bucket));
  } catch (error) {
    if (isMissing(error)) throw new Error(`There is no bucket ${bucket} yet.`, { cause: error });
    throw toConfigError(error, bucket) ?? error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound;
}

function streamConfig({ name, storage, ttlMs, bytesMax, valueBytesMax, replicas }: BucketSettings) {
  const maxAge = nanos(ttlMs);
  return {
    name: streamOf(name),
    subjects: [`$KV.${name}.>`],
    retention: RetentionPolicy.Limits,
    storage: storage === "file" ? StorageType.File : StorageType.Memory,
    max_age: maxAge,
    max_bytes: bytesMax,
    max_msg_size: valueBytesMax + overheadBytes,
    max_msgs_per_subject: 1,
    discard: DiscardPolicy.Old,
    allow_direct: true,
    num_replicas: replicas,
    duplicate_window: Math.min(maxAge, nanos(120_000)), // The server wants it no longer than the age.
    allow_rollup_hdrs: true,
    deny_delete: false,
  } satisfies Partial<StreamConfig>;
}

type Wanted = ReturnType<typeof streamConfig>;

// What an update may change; a server refuses an update that says anything else.
function changeable({ max_age, max_bytes, max_msg_size, discard, allow_direct, num_replicas, ...rest }: Wanted) {
  const { max_msgs_per_subject, duplicate_window } = rest;
  return {
    max_age,
    max_bytes,
    max_msg_size,
    discard,
    allow_direct,
    num_replicas,
    max_msgs_per_subject,
    duplicate_window,
  };
}

function differs(found: StreamConfig, wanted: Wanted): boolean {
  return Object.entries(changeable(wanted)).some(([name, value]) => found[name as keyof StreamConfig] !== value);
}

function toConfigError(error: unknown, bucket: string): NatsConfigError | undefined {
  const noResponders = error instanceof errors.RequestError && error.isNoResponders();
  if (noResponders || (error instanceof Error && error.name === "JetStreamNotEnabled")) {
    return new NatsConfigError("The NATS server runs without JetStream.", { cause: error });
  }
  // 503 is a cluster that has no leader just now.
  if (error instanceof JetStreamApiError && error.status !== 503) {
    return new NatsConfigError(`NATS refuses the bucket ${bucket}: ${error.message}.`, { cause: error });
  }
  return undefined;
}
