import { createEvents, type Listener, type Logger, type Secret, type Tracing } from "@florence/service";
import { EmbeddingCodec, headerBytes } from "../codec.ts";
import { type EmbeddingEvents, embeddingEvents, unheard } from "../events.ts";
import { logEmbeddings } from "../log.ts";
import { MemoryStore } from "../memory-store.ts";
import { Seal } from "../seal.ts";
import type { EmbeddingStore } from "../store.ts";
import { connectNats } from "./connection.ts";
import { Leases } from "./leases.ts";
import { RemoteAliases } from "./remote-aliases.ts";
import type { NatsConfig } from "./settings.ts";
import { NatsStore } from "./store.ts";
import { TieredStore } from "./tiered-store.ts";

/** Who opens stores, and what it proves its values by. */
export interface StoreUser {
  /** A decoder only reads embeddings; an encoder writes them, with aliases and leases. */
  readonly role: "encoder" | "decoder";
  readonly seal: Seal;
  readonly events?: EmbeddingEvents;
  /** Joins what is read to what wrote it. */
  readonly tracing?: Tracing;
}

/** Where a service finds and keeps embeddings. Without NATS there is only the store in memory. */
export interface Stores extends AsyncDisposable {
  readonly store: EmbeddingStore;
  readonly leases?: Leases;
  readonly remoteAliases?: RemoteAliases;
}

/** The bounds of the store in memory, and the size of what is stored. */
export interface StoreBounds {
  readonly storeBytesMax: number;
  readonly storeTtlMs: number;
  /** Bytes of one embedding of the checkpoint that is served, in memory. */
  readonly embeddingBytes: number;
}

/** What a process brings to the stores of its encoder or decoder. */
export interface ServiceOfStores extends Pick<StoreUser, "role" | "tracing"> {
  /** The cluster's: proves what is stored. */
  readonly secret: Secret | undefined;
  readonly log: Logger;
  /** Hear, beside the log, what happens in the stores. */
  readonly listeners: readonly Listener<typeof embeddingEvents>[];
}

/** As openStores, for a process: values are proved by the cluster's secret, and what happens is logged. */
export function openServiceStores(
  config: NatsConfig,
  bounds: StoreBounds,
  { secret, log, listeners, ...user }: ServiceOfStores,
): Promise<Stores> {
  const events = createEvents(embeddingEvents, [logEmbeddings(log), ...listeners]);
  return openStores(config, bounds, { ...user, seal: new Seal(secret), events });
}

/**
 * Opens the stores of an encoder or decoder. NATS that cannot be reached does not keep a service from starting. Throws a
 * NatsConfigError for settings that cannot work.
 */
export async function openStores(
  config: NatsConfig,
  { storeBytesMax, storeTtlMs, embeddingBytes }: StoreBounds,
  { role, seal, events = unheard, tracing }: StoreUser,
): Promise<Stores> {
  await using resources = new AsyncDisposableStack();
  const inMemory = new MemoryStore({ bytesMax: storeBytesMax, ttlMs: storeTtlMs, events });
  if (config.servers === undefined) {
    resources.use(inMemory);
    const opened = resources.move();
    return { store: inMemory, [Symbol.asyncDispose]: () => opened.disposeAsync() };
  }
  const link = resources.use(
    await connectNats({
      servers: config.servers.split(",").map((server) => server.trim()),
      name: `florence-${role}`,
      user: config.user,
      password: config.password?.reveal(),
      token: config.token?.reveal(),
      credsFile: config.credsFile,
      tls: tlsOf(config),
      events,
    }),
  );
  const { ttlMs, bytesMax, replicas, readMsMax } = config;
  const remote = await NatsStore.open(link, {
    valueBytesMax: headerBytes + embeddingBytes,
    codec: new EmbeddingCodec(seal),
    readOnly: role === "decoder",
    ttlMs,
    bytesMax,
    replicas,
    readMsMax,
    events,
    tracing,
  });
  const store = resources.use(new TieredStore({ memory: inMemory, remote }));
  if (role === "decoder") {
    const opened = resources.move();
    return { store, [Symbol.asyncDispose]: () => opened.disposeAsync() };
  }
  const shared = { replicas, seal, events, tracing };
  const remoteAliases = resources.use(await RemoteAliases.open(link, { ttlMs, readMsMax, ...shared }));
  const leases = resources.use(await Leases.open(link, { acquireMsMax: readMsMax, ...shared }));
  const opened = resources.move();
  return { store, leases, remoteAliases, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

function tlsOf({ caFile, certFile, keyFile }: NatsConfig) {
  if (caFile === undefined && certFile === undefined && keyFile === undefined) return undefined;
  return { ...(caFile && { caFile }), ...(certFile && { certFile }), ...(keyFile && { keyFile }) };
}
