import { type EmbeddingStore, MemoryStore } from "@florence/embeddings";
import type { Leases, RemoteAliases } from "@florence/embeddings/nats";
import { Health, implement, messageBytesMaxDefault, startServer } from "@florence/grpc";
import { type BuiltModel, encodingOf, imagesPerCall } from "@florence/model";
import { createLogger } from "@florence/node";
import { Encoder } from "@florence/proto/encoder";
import { Admission, type Logger } from "@florence/service";
import type { EncoderConfig } from "./config.ts";
import { holderAddress } from "./holder.ts";
import { ImageEncoder } from "./image-encoder.ts";
import { ImagePool } from "./image-pool.ts";
import { encoderHandlers } from "./rpc.ts";
import { SharedEncoding } from "./shared-encoding.ts";
import { VisionPool } from "./vision-pool.ts";

export { type EncoderConfig, encoderConfig } from "./config.ts";

const MiB = 1024 * 1024;

export interface EncoderOptions {
  readonly model: BuiltModel;
  /** Where embeddings are kept; a MemoryStore of its own unless given. In one process the decoder shares it. */
  readonly store?: EmbeddingStore;
  readonly log?: Logger;
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

/** Starts an encoder: loads the vision graph in worker threads and serves florence.v1.Encoder. */
export async function startEncoder(config: EncoderConfig, options: EncoderOptions): Promise<RunningEncoder> {
  const { model } = options;
  const { manifest } = model;
  const log = options.log ?? createLogger({ name: "encoder", level: config.logLevel });
  const health = new Health();
  const setServing = (serving: boolean) => {
    for (const name of ["", Encoder.typeName]) health.set(name, serving);
  };
  await using resources = new AsyncDisposableStack();
  const store =
    options.store ?? resources.use(new MemoryStore({ bytesMax: config.storeBytesMax, ttlMs: config.storeTtlMs }));

  let pools: { images: ImagePool; vision: VisionPool } | undefined;
  const onChange = () => setServing(pools?.images.ready === true && pools.vision.ready);
  const images = resources.use(
    await ImagePool.start(
      { size: manifest.config.preprocess.size, pixelsMax: config.pixelsMax },
      { count: config.imageWorkers, waitingMax: config.imagesMax, log, onChange },
    ),
  );
  const vision = resources.use(
    await VisionPool.start(model, {
      count: config.workers,
      threads: config.threads,
      batchMax: imagesPerCall(manifest, config),
      log,
      onChange,
      ...(options.visionWorker && { url: options.visionWorker }),
    }),
  );
  pools = { images, vision };

  const admission = new Admission({ running: config.imagesMax, waiting: config.queueMax });
  let holder = "";
  const shared = resources.use(new SharedEncoding({ store, leases: options.leases, holder: () => holder, log }));
  const encoder = new ImageEncoder({
    encoding: encodingOf(manifest),
    store,
    shared,
    remoteAliases: options.remoteAliases,
    images,
    vision,
    admission,
    aliasesMax: config.aliasesMax,
  });
  const handlers = encoderHandlers({
    manifest,
    encoder,
    store,
    storeTtlMs: config.storeTtlMs,
    uploadBytesMax: config.uploadBytesMax,
    holder: () => holder,
    imagesEncoded: () => vision.imagesEncoded,
  });
  const server = resources.use(
    await startServer({
      host: config.host,
      port: config.port,
      services: [implement(Encoder, handlers), health.implementation],
      // One MiB over an image, so that one which is a little too large gets its own error.
      messageBytesMax: Math.max(messageBytesMaxDefault, config.uploadBytesMax + MiB),
      drainMs: config.drainMs,
      onFailure: ({ method, peer, fault }) => {
        if (fault.code === "internal") log.error({ method, peer, err: fault }, "call failed");
        else log.debug({ method, peer, code: fault.code }, "call refused");
      },
    }),
  );
  holder = holderAddress(server, config);
  onChange();
  resources.defer(() => {
    pools = undefined;
    setServing(false);
    health[Symbol.dispose]();
  });
  log.info({ address: server.address, holder, model: manifest.name, precision: manifest.precision }, "encoder serving");
  const running = resources.move();
  return { address: server.address, [Symbol.asyncDispose]: () => running.disposeAsync() };
}
