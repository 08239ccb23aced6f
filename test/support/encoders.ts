import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EmbeddingCodec, embeddingEvents, headerBytes, MemoryStore, Seal } from "@florence/embeddings";
import {
  connectNats,
  Leases,
  NatsStore,
  type NatsStoreOptions,
  RemoteAliases,
  TieredStore,
} from "@florence/embeddings/nats";
import { type EncoderOptions, encoderConfig, startEncoder } from "@florence/encoder";
import { createClient, openCredentials } from "@florence/grpc";
import { noCluster } from "@florence/grpc/settings";
import { type BuiltModel, prepareModel } from "@florence/model";
import type { NatsServer } from "@florence/nats-server";
import { type EncodeResponse, Encoder } from "@florence/proto/encoder";
import { countEvents, createEvents, readConfig } from "@florence/service";
import { root } from "./services.ts";

const MiB = 1024 * 1024;
const hourMs = 3_600_000;

// Patient, because all encoders of a test share one process: what is tested is what they do, not how quickly.
const patientMs = 2_000;

/** The drawn checkpoint built into a temporary folder, which disposal removes. */
export async function buildModel(): Promise<AsyncDisposable & { model: BuiltModel }> {
  const cacheFolder = mkdtempSync(join(tmpdir(), "florence-encoders-"));
  return {
    model: await prepareModel(join(root, "models/florence-2-drawn"), { cacheFolder }),
    [Symbol.asyncDispose]: async () => rmSync(cacheFolder, { recursive: true, force: true }),
  };
}

export interface ClusterEncoderOptions extends Omit<EncoderOptions, "store" | "leases" | "remoteAliases"> {
  readonly queue?: NatsStoreOptions["queue"];
  readonly env?: Readonly<Record<string, string>>;
  /** How long NATS may take to answer. */
  readonly natsMsMax?: number;
}

export type ClusterEncoder = Awaited<ReturnType<typeof startClusterEncoder>>;

/** An encoder with a connection and stores of its own, as another process has them, and a client. */
export async function startClusterEncoder(nats: Pick<NatsServer, "url">, options: ClusterEncoderOptions) {
  const { queue, env, natsMsMax = patientMs, ...rest } = options;
  const cluster = rest.cluster ?? noCluster;
  const seal = new Seal(cluster.secret);
  const codec = new EmbeddingCodec(seal);
  await using resources = new AsyncDisposableStack();
  const { counts, listener } = countEvents(embeddingEvents);
  const events = createEvents(embeddingEvents, [listener]);
  const link = resources.use(await connectNats({ servers: nats.url, events }));
  const { imageTokens, text } = rest.model.manifest.config;
  const valueBytesMax = headerBytes + imageTokens * text.hidden * Float32Array.BYTES_PER_ELEMENT;
  const remote = await NatsStore.open(link, {
    valueBytesMax,
    codec,
    bytesMax: 64 * MiB,
    readMsMax: natsMsMax,
    events,
    ...(queue && { queue }),
  });
  const memory = new MemoryStore({ bytesMax: 64 * MiB, ttlMs: hourMs });
  const store = resources.use(new TieredStore({ memory, remote }));
  const remoteAliases = resources.use(await RemoteAliases.open(link, { readMsMax: natsMsMax, seal, events }));
  const leases = resources.use(await Leases.open(link, { acquireMsMax: natsMsMax, seal, events }));
  const config = readConfig({ FLORENCE_LOG_LEVEL: "silent", FLORENCE_ENCODER_THREADS: "1", ...env }, encoderConfig);
  const encoder = resources.use(await startEncoder(config, { ...rest, store, leases, remoteAliases }));
  const client = resources.use(createClient(Encoder, encoder.address, { credentials: openCredentials(cluster) }));
  const running = resources.move();
  return {
    address: encoder.address,
    client,
    store,
    leases,
    codec,
    /** How often its stores and leases have said what. */
    counts,
    /** Stops serving, as a process does that is told to end. */
    stop: () => encoder[Symbol.asyncDispose](),
    encoded: async () => Number((await client.getEncoderModel({})).imagesEncoded),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Images that went through the model of any of them. */
export async function encodedBy(encoders: readonly Pick<ClusterEncoder, "encoded">[]): Promise<number> {
  const counts = await Promise.all(encoders.map((encoder) => encoder.encoded()));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** The numbers that a decoder gets from the encoder that an answer names. */
export async function embeddingFrom(encoders: readonly ClusterEncoder[], { holder, key }: EncodeResponse) {
  const encoder = encoders.find(({ address }) => address === holder.split("#")[0]) as ClusterEncoder;
  const decoded = encoder.codec.decode(key, (await encoder.client.getEmbedding({ key })).value);
  if ("flaw" in decoded) throw new Error(decoded.flaw);
  return decoded.embedding.data;
}
