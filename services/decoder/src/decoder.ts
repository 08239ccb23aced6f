import {
  EmbeddingCodec,
  EmbeddingHolders,
  type EmbeddingStore,
  holderAddresses,
  MemoryStore,
  Seal,
} from "@florence/embeddings";
import { createClient, Health, implement, openCredentials, startServer } from "@florence/grpc";
import { type ClusterConfig, noCluster } from "@florence/grpc/settings";
import { type BuiltModel, encodingOf, Tokenizer } from "@florence/model";
import { createLogger } from "@florence/node";
import { Decoder } from "@florence/proto/decoder";
import { Encoder } from "@florence/proto/encoder";
import { Admission, createEvents, type Listener, type Logger, type Tracing } from "@florence/service";
import { SupervisedWorker } from "@florence/worker";
import type { DecoderConfig } from "./config.ts";
import type { DecodeWorkerMethods } from "./decode-worker.ts";
import { EmbeddingSource } from "./embedding-source.ts";
import { decoderEvents, logDecoder } from "./events.ts";
import { decoderHandlers } from "./rpc.ts";

export { type DecoderConfig, decoderConfig } from "./config.ts";
export { decoderEvents } from "./events.ts";

export interface DecoderOptions {
  readonly model: BuiltModel;
  /** Where embeddings are found first; a store of its own unless given. In one process the encoder's store is given. */
  readonly store?: EmbeddingStore;
  /** How it and the others of its cluster know each other. Default: not at all. */
  readonly cluster?: ClusterConfig;
  readonly log?: Logger;
  /** Hear what happens in the decoder; of a store that is given only what its own events say. */
  readonly listeners?: readonly Listener<typeof decoderEvents>[];
  /** Joins its calls to those that they are made for. */
  readonly tracing?: Tracing;
}

/** A serving decoder. Disposing it stops accepting, lets answers finish until the drain deadline, then cuts them. */
export interface RunningDecoder extends AsyncDisposable {
  /** host:port as bound. */
  readonly address: string;
  /** Sequences in the batch and bytes of KV cache held now. */
  usage(): Promise<{ sequences: number; kvBytes: number }>;
}

// The texts of 32 tasks, each as long as the longest prompt may be written, many times over.
const requestBytesMax = 1024 * 1024;

// The worker's own calls beside admitted requests: usage.
const sideCallsMax = 16;

/**
 * Starts a decoder: loads the prompt and decode graphs in a worker thread and serves florence.v1.Decoder. Throws when a graph or the
 * tokenizer cannot be loaded, the certificates used, or the address bound; what was started by then is stopped.
 */
export async function startDecoder(config: DecoderConfig, options: DecoderOptions): Promise<RunningDecoder> {
  const { model, cluster = noCluster } = options;
  const { manifest } = model;
  const credentials = openCredentials(cluster);
  const log = options.log ?? createLogger({ name: "decoder", level: config.logLevel });
  const health = new Health();
  const setServing = (serving: boolean) => {
    for (const name of ["", Decoder.typeName]) health.set(name, serving);
  };
  await using resources = new AsyncDisposableStack();
  const events = createEvents(decoderEvents, [
    logDecoder(log),
    { workerReady: () => setServing(true), workerCrashed: () => setServing(false) },
    ...(options.listeners ?? []),
  ]);
  const { storeBytesMax: bytesMax, storeTtlMs: ttlMs } = config;
  const store = options.store ?? resources.use(new MemoryStore({ bytesMax, ttlMs, events }));
  const encoding = encodingOf(manifest);
  const traced = options.tracing && { tracing: options.tracing };
  const connect = (address: string) => createClient(Encoder, address, { credentials, ...traced });
  const codec = new EmbeddingCodec(new Seal(cluster.secret));
  const addresses = holderAddresses(cluster.secret, { tls: credentials.tls !== undefined });
  const holders = resources.use(new EmbeddingHolders({ connect, dims: encoding.dims, codec, addresses, events }));
  const embeddings = new EmbeddingSource({ store, holders, encoding, events });
  const tokenizer = await Tokenizer.load(model.folder);
  const worker = resources.use(
    await SupervisedWorker.start<DecodeWorkerMethods>(
      new URL("./decode-worker.ts", import.meta.url),
      { model, config },
      {
        name: "decode",
        // Cancelled calls stay until the worker lets go of them, within one step.
        pendingMax: 2 * config.requestsMax + sideCallsMax,
        events,
      },
    ),
  );
  const admission = new Admission({
    running: config.requestsMax,
    waiting: config.queueMax,
    onWaiting: (waiting) => events.callsWaiting({ waiting }),
  });
  const handlers = decoderHandlers({
    manifest,
    tokenizer,
    worker,
    embeddings,
    admission,
    newTokensMax: config.newTokensMax,
    events,
  });
  const server = resources.use(
    await startServer({
      host: config.host,
      port: config.port,
      services: [implement(Decoder, handlers), health.implementation],
      messageBytesMax: requestBytesMax,
      credentials,
      drainMs: config.drainMs,
      events,
      ...traced,
    }),
  );
  resources.defer(() => {
    setServing(false);
    health[Symbol.dispose]();
  });
  events.serving({ address: server.address, model: manifest.name, precision: manifest.precision });
  const running = resources.move();
  return {
    address: server.address,
    usage: () => worker.call("usage", undefined),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
