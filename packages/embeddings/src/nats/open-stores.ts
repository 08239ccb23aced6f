import type { Logger } from "@florence/service";
import { headerBytes } from "../codec.ts";
import { MemoryStore } from "../memory-store.ts";
import type { EmbeddingStore } from "../store.ts";
import { connectNats } from "./connection.ts";
import { Leases } from "./leases.ts";
import { RemoteAliases } from "./remote-aliases.ts";
import type { NatsConfig } from "./settings.ts";
import { NatsStore } from "./store.ts";
import { TieredStore } from "./tiered-store.ts";

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

/**
 * Opens the stores of an encoder or decoder. NATS that cannot be reached does not keep a service from starting. Throws a
 * NatsConfigError for settings that cannot work.
 */
export async function openStores(
  config: NatsConfig,
  { storeBytesMax, storeTtlMs, embeddingBytes }: StoreBounds,
  log: Logger,
): Promise<Stores> {
  await using resources = new AsyncDisposableStack();
  const inMemory = new MemoryStore({ bytesMax: storeBytesMax, ttlMs: storeTtlMs });
  if (config.servers === undefined) {
    resources.use(inMemory);
    const held = resources.move();
    return { store: inMemory, [Symbol.asyncDispose]: () => held.disposeAsync() };
  }
  const link = resources.use(
    await connectNats({
      servers: config.servers.split(",").map((server) => server.trim()),
      name: "florence",
      user: config.user,
      password: config.password?.reveal(),
      token: config.token?.reveal(),
      credsFile: config.credsFile,
      tls: tlsOf(config),
      onStatus: (status) => {
        if (status.connected) log.info({ server: status.server, version: status.version }, "NATS connected");
        else
          log.warn(
            { reason: status.reason },
            "NATS is out of reach: embeddings are computed where it would have had them",
          );
      },
    }),
  );
  const onProblem = (problem: Error) => log.error({ err: problem }, "NATS cannot keep embeddings");
  const { ttlMs, bytesMax, replicas, readMsMax } = config;
  const remote = await NatsStore.open(link, {
    valueBytesMax: headerBytes + embeddingBytes,
    ttlMs,
    bytesMax,
    replicas,
    readMsMax,
    onProblem,
  });
  const store = resources.use(new TieredStore({ memory: inMemory, remote }));
  const remoteAliases = resources.use(await RemoteAliases.open(link, { ttlMs, replicas, readMsMax, onProblem }));
  const leases = resources.use(await Leases.open(link, { replicas, acquireMsMax: readMsMax, onProblem }));
  const held = resources.move();
  return { store, leases, remoteAliases, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

function tlsOf({ caFile, certFile, keyFile }: NatsConfig) {
  if (caFile === undefined && certFile === undefined && keyFile === undefined) return undefined;
  return { ...(caFile && { caFile }), ...(certFile && { certFile }), ...(keyFile && { keyFile }) };
}
