import type { MessageInitShape } from "@bufbuild/protobuf";
import { describeModel, type Manifest, type Tokenizer } from "@florence/model";
import type { Decoder, GenerateResponseSchema } from "@florence/proto/decoder";
import { type Admission, Fault, type Handlers } from "@florence/service";
import type { SupervisedWorker } from "@florence/worker";
import { AnswerBuilder } from "./answer.ts";
import type { DecodeWorkerMethods } from "./decode-worker.ts";
import type { EmbeddingSource } from "./embedding-source.ts";
import { EventQueue } from "./event-queue.ts";
import type { JobEvent, JobTask } from "./job.ts";
import { type PreparedTask, prepareTasks } from "./tasks.ts";

type Response = MessageInitShape<typeof GenerateResponseSchema>;

// One more than the gateway's own limit would let through is a caller that went around it.
const tasksMax = 32;

export interface DecoderParts {
  readonly manifest: Manifest;
  readonly tokenizer: Tokenizer;
  readonly worker: SupervisedWorker<DecodeWorkerMethods>;
  readonly embeddings: EmbeddingSource;
  readonly admission: Admission;
  readonly newTokensMax: number;
}

/** The handlers of florence.v1.Decoder. */
export function decoderHandlers(parts: DecoderParts): Handlers<typeof Decoder> {
  const { manifest, tokenizer, worker, embeddings, admission, newTokensMax } = parts;
  return {
    async *generate(request, { signal }) {
      if (request.tasks.length === 0) throw new Fault("body_invalid", "The call has no task.");
      if (request.tasks.length > tasksMax) throw new Fault("body_invalid", `A call takes at most ${tasksMax} tasks.`);
      const prepared = prepareTasks(request, manifest, tokenizer, newTokensMax);
      const askable: { index: number; job: JobTask; builder: AnswerBuilder }[] = [];
      for (const [index, task] of prepared.entries()) {
        if ("error" in task) yield problem(index, task);
        else {
          const builder = new AnswerBuilder(tokenizer, task.row, task.job, request, manifest.config.text.decoderStart);
          askable.push({ index, job: task.job, builder });
        }
      }
      if (askable.length === 0) return;

      using _slot = await admission.acquire(signal);
      const embedding = await embeddings.get(request.embeddingKey, request.holder, signal);
      const queue = new EventQueue<JobEvent>();
      const leaving = new AbortController();
      const job = {
        imageKey: request.embeddingKey,
        features: embedding.data,
        tasks: askable.map((t) => t.job),
        stream: request.stream,
      };
      const generated = worker.call("generate", job, {
        signal: AbortSignal.any([signal, leaving.signal]),
        onEvent: (event) => queue.push(event as JobEvent),
      });
      generated.then(
        () => queue.end(),
        (error) => queue.end(error),
      );
      try {
        for await (const event of queue) yield* responses(event, askable);
      } finally {
        leaving.abort(); // A reader that left early frees its sequences; after the end this does nothing.
      }
    },
    getDecoderModel: async () => {
      const { sequences, kvBytes } = await worker.call("usage", undefined);
      return {
        model: describeModel(manifest, newTokensMax),
        requests: admission.running + admission.waiting,
        sequences,
        kvBytes: BigInt(kvBytes),
      };
    },
  };
}

function* responses(
  event: JobEvent,
  askable: readonly { index: number; builder: AnswerBuilder }[],
): Generator<Response> {
  const { index: taskIndex, builder } = askable[event.task] as { index: number; builder: AnswerBuilder };
  const events =
    event.kind === "started"
      ? [builder.started()]
      : event.kind === "token"
        ? builder.token(event.id, event.logProb)
        : builder.finished(event.finished, event.timing);
  for (const wire of events) yield { taskIndex, event: wire };
}

function problem(taskIndex: number, { error }: Extract<PreparedTask, { error: unknown }>): Response {
  return { taskIndex, event: { case: "problem", value: { code: error.code, detail: error.message } } };
}
