import { type EmbeddingStore, MemoryStore } from "@florence/embeddings";
import { Health, implement, startServer } from "@florence/grpc";
import { type BuiltModel, encodingOf, Tokenizer } from "@florence/model";
import { createLogger } from "@florence/node";
import { Decoder } from "@florence/proto/decoder";
import { Admission, type Logger } from "@florence/service";
import { SupervisedWorker } from "@florence/worker";
import type { DecoderConfig } from "./config.ts";
import type { DecodeWorkerMethods } from "./decode-worker.ts";
import { EmbeddingSource } from "./embedding-source.ts";
import { decoderHandlers } from "./rpc.ts";

export { type DecoderConfig, decoderConfig } from "./config.ts";

export interface DecoderOptions {
  readonly model: BuiltModel;
  /** Where embeddings are found first; a store of its own unless given. In one process the encoder's store is given. */
  readonly store?: EmbeddingStore;
  readonly log?: Logger;
}

/** A serving decoder. Disposing it stops accepting, lets answers finish until the drain deadline, then cuts them. */
export interface RunningDecoder extends AsyncDisposable {
  /** host:port as bound. */
  readonly address: string;
  /** Sequences in the batch and bytes of KV cache held now. */
  usage(): Promise<{ sequences: number; kvBytes: number }>;
}

// The worker's own calls beside admitted requests: usage.
const sideCallsMax = 16;

/** Starts a decoder: loads the prompt and decode graphs in a worker thread and serves florence.v1.Decoder. */
export async function startDecoder(config: DecoderConfig, options: DecoderOptions): Promise<RunningDecoder> {
  const { model } = options;
  const { manifest } = model;
  const log = options.log ?? createLogger({ name: "decoder", level: config.logLevel });
  const health = new Health();
  const setServing = (serving: boolean) => {
    for (const name of ["", Decoder.typeName]) health.set(name, serving);
  };
  await using resources = new AsyncDisposableStack();
  const store =
    options.store ?? resources.use(new MemoryStore({ bytesMax: config.storeBytesMax, ttlMs: config.storeTtlMs }));
  const embeddings = resources.use(new EmbeddingSource(store, encodingOf(manifest)));
  const tokenizer = await Tokenizer.load(model.folder);
  const worker = resources.use(
    await SupervisedWorker.start<DecodeWorkerMethods>(
      new URL("./decode-worker.ts", import.meta.url),
      { model, config },
      {
        name: "decode",
        // Cancelled calls stay until the worker lets go of them, within one step.
        pendingMax: 2 * config.requestsMax + sideCallsMax,
        onChange: (ready, crash) => {
          setServing(ready);
          if (crash) log.error({ err: crash }, "decode worker crashed; starting it again");
        },
      },
    ),
  );
  const admission = new Admission({ running: config.requestsMax, waiting: config.queueMax });
  const handlers = decoderHandlers({
    manifest,
    tokenizer,
    worker,
    embeddings,
    admission,
    newTokensMax: config.newTokensMax,
  });
  const server = resources.use(
    await startServer({
      host: config.host,
      port: config.port,
      services: [implement(Decoder, handlers), health.implementation],
      drainMs: config.drainMs,
      onFailure: ({ method, peer, fault }) => {
        if (fault.code === "internal") log.error({ method, peer, err: fault }, "call failed");
        else log.debug({ method, peer, code: fault.code }, "call refused");
      },
    }),
  );
  resources.defer(() => setServing(false));
  log.info({ address: server.address, model: manifest.name, precision: manifest.precision }, "decoder serving");
  const running = resources.move();
  return {
    address: server.address,
    usage: () => worker.call("usage", undefined),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
