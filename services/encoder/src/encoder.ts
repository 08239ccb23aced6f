import {
  EmbeddingCodec,
  EmbeddingHolders,
  type EmbeddingStore,
  holderAddresses,
  MemoryStore,
  Seal,
} from "@florence/embeddings";
import type { Leases, RemoteAliases } from "@florence/embeddings/nats";
import { createClient, Health, implement, messageBytesMaxDefault, openCredentials, startServer } from "@florence/grpc";
import { type ClusterConfig, noCluster } from "@florence/grpc/settings";
import { type BuiltModel, encodingOf, imagesPerCall } from "@florence/model";
import { createLogger } from "@florence/node";
import { Encoder } from "@florence/proto/encoder";
import { Admission, countEvents, createEvents, type Listener, type Logger, type Tracing } from "@florence/service";
import { advertisedAddress } from "./advertised-address.ts";
import type { EncoderConfig } from "./config.ts";
import { encoderEvents, logEncoder } from "./events.ts";
import { ImageEncoder } from "./image-encoder.ts";
import { ImagePool } from "./image-pool.ts";
import { encoderHandlers } from "./rpc.ts";
import { SharedEncoding } from "./shared-encoding.ts";
import { VisionPool } from "./vision-pool.ts";

export { type EncoderConfig, encoderConfig } from "./config.ts";
export { encoderEvents } from "./events.ts";

const MiB = 1024 * 1024;

export interface EncoderOptions {
  readonly model: BuiltModel;
  /** Where embeddings are kept; a MemoryStore of its own unless given. In one process the decoder shares it. */
  readonly store?: EmbeddingStore;
  /** How it and the others of its cluster know each other. Default: not at all. */
  readonly cluster?: ClusterConfig;
  readonly log?: Logger;
  /** Hear what happens in the encoder; of the stores that are given only what their own events say. */
  readonly listeners?: readonly Listener<typeof encoderEvents>[];
  /** Joins its calls to those that they are made for. */
  readonly tracing?: Tracing;
  /** With these, each image is encoded once in the cluster, and files that another encoder knows are not decoded. */
  readonly leases?: Leases;
  readonly remoteAliases?: RemoteAliases;
  /** A file that serves the methods of vision-worker.ts in its place. */
  readonly visionWorker?: URL;
}

/** A serving encoder. Disposing it stops accepting, lets calls finish until the drain deadline, then cuts them. */
export interface RunningEncoder extends AsyncDisposable {
  /** host:port as bound. */
  readonly address: string;
}

/**
 * Starts an encoder: loads the vision graph in worker threads, starts processes for images and serves florence.v1.Encoder. Throws when the
 * graph cannot be loaded or run, the certificates used, or the address bound; what was started by then is stopped.
 */
export async function startEncoder(config: EncoderConfig, options: EncoderOptions): Promise<RunningEncoder> {
  const { model, cluster = noCluster } = options;
  const { manifest } = model;
  const credentials = openCredentials(cluster);
  const log = options.log ?? createLogger({ name: "encoder", level: config.logLevel });
  const health = new Health();
  const setServing = (serving: boolean) => {
    for (const name of ["", Encoder.typeName]) health.set(name, serving);
  };
  await using resources = new AsyncDisposableStack();
  let pools: { images: ImagePool; vision: VisionPool } | undefined;
  const tellHealth = () => setServing(pools?.images.ready === true && pools.vision.ready);
  const { counts, listener } = countEvents(encoderEvents);
  const events = createEvents(encoderEvents, [
    listener,
    logEncoder(log),
    {
      workerReady: tellHealth,
      workerCrashed: tellHealth,
      processReplaced: tellHealth,
      processFailed: tellHealth,
    },
    ...(options.listeners ?? []),
  ]);
  const { storeBytesMax: bytesMax, storeTtlMs: ttlMs } = config;
  const store = options.store ?? resources.use(new MemoryStore({ bytesMax, ttlMs, events }));

  const images = resources.use(
    await ImagePool.start({
      size: manifest.config.preprocess.size,
      pixelsMax: config.pixelsMax,
      count: config.imageWorkers,
      waitingMax: config.imagesMax,
      events,
    }),
  );
  const vision = resources.use(
    await VisionPool.start(model, {
      count: config.workers,
      threads: config.threads,
      batchMax: imagesPerCall(manifest, config),
      events,
      ...(options.visionWorker && { url: options.visionWorker }),
    }),
  );
  pools = { images, vision };

  const admission = new Admission({
    running: config.imagesMax,
    waiting: config.queueMax,
    onWaiting: (waiting) => events.imagesWaiting({ queue: "admission", waiting }),
  });
  const encoding = encodingOf(manifest);
  const traced = options.tracing && { tracing: options.tracing };
  const connect = (address: string) => createClient(Encoder, address, { credentials, ...traced });
  const codec = new EmbeddingCodec(new Seal(cluster.secret));
  const addresses = holderAddresses(cluster.secret, { tls: credentials.tls !== undefined });
  const holders = resources.use(new EmbeddingHolders({ connect, dims: encoding.dims, codec, addresses, events }));
  let advertised = "";
  const holderOf = (key: string) => addresses.state(key, advertised);
  const shared = resources.use(new SharedEncoding({ store, leases: options.leases, holderOf, holders, events }));
  const encoder = new ImageEncoder({
    encoding,
    store,
    shared,
    remoteAliases: options.remoteAliases,
    images,
    vision,
    admission,
    aliasesMax: config.aliasesMax,
    events,
  });
  const handlers = encoderHandlers({
    manifest,
    encoder,
    store,
    storeTtlMs: config.storeTtlMs,
    uploadBytesMax: config.uploadBytesMax,
    codec,
    holderOf,
    imagesEncoded: () => counts.imageEncoded,
    events,
  });
  const server = resources.use(
    await startServer({
      host: config.host,
      port: config.port,
      services: [implement(Encoder, handlers), health.implementation],
      // One MiB over an image, so that one which is a little too large gets its own error.
      messageBytesMax: Math.max(messageBytesMaxDefault, config.uploadBytesMax + MiB),
      credentials,
      drainMs: config.drainMs,
      events,
      ...traced,
    }),
  );
  advertised = advertisedAddress(server, config);
  tellHealth();
  resources.defer(() => {
    pools = undefined;
    setServing(false);
    health[Symbol.dispose]();
  });
  events.serving({ address: server.address, advertised, model: manifest.name, precision: manifest.precision });
  const running = resources.move();
  return { address: server.address, [Symbol.asyncDispose]: () => running.disposeAsync() };
}
