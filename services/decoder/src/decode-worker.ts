import { type BuiltModel, classify, Grammar, Tokenizer } from "@florence/model";
import { batchLimits, cpu, DecodeBatch, PromptModel } from "@florence/model/inference";
import { serveWorker, type WorkerCallContext } from "@florence/worker/server";
import type { DecoderConfig } from "./config.ts";
import type { Job } from "./job.ts";
import { Scheduler } from "./scheduler.ts";

export interface DecodeWorkerData {
  readonly model: BuiltModel;
  readonly config: Pick<DecoderConfig, "threads" | "rowsMax" | "kvBytesMax" | "promptBatchMax" | "newTokensMax">;
}

export type DecodeWorkerMethods = Awaited<ReturnType<typeof start>>["methods"];

/** The prompt and decode graphs and the scheduler, in a thread of their own: a model run blocks the thread it is on. */
async function start({ model, config }: DecodeWorkerData) {
  const { folder, manifest } = model;
  const device = cpu(config.threads);
  const limits = batchLimits(manifest, {
    rowsMax: config.rowsMax,
    bytesMax: config.kvBytesMax,
    newTokensMax: config.newTokensMax,
  });
  const prompts = await PromptModel.load(folder, manifest, device);
  const batch = await DecodeBatch.load(folder, manifest, device, limits);
  const tokenizer = await Tokenizer.load(folder);
  const classes = classify(tokenizer, manifest.config.text.eos, manifest.config.text.bos);
  const scheduler = new Scheduler(
    { prompts, batch, manifest },
    {
      promptBatchMax: config.promptBatchMax,
      vocabulary: tokenizer.size,
      grammarOf: (kind) => Grammar.of(kind, classes, tokenizer),
    },
  );
  return {
    methods: {
      decode: (job: Job, { signal, emit }: WorkerCallContext) => scheduler.run(job, signal, emit),
      /** What the batch holds now. */
      usage: async () => scheduler.usage,
    },
    dispose: async () => {
      await prompts[Symbol.asyncDispose]();
      await batch[Symbol.asyncDispose]();
    },
  };
}

await serveWorker(start);
