import type { MessageInitShape } from "@bufbuild/protobuf";
import { describeModel, type Manifest, type Tokenizer } from "@florence/model";
import type { Decoder, GenerateResponseSchema } from "@florence/proto/decoder";
import { type Admission, Fault, type Handlers, toFault } from "@florence/service";
import type { SupervisedWorker } from "@florence/worker";
import { AnswerBuilder } from "./answer.ts";
import type { DecodeWorkerMethods } from "./decode-worker.ts";
import type { EmbeddingSource } from "./embedding-source.ts";
import { EventQueue } from "./event-queue.ts";
import type { DecoderEvents } from "./events.ts";
import type { JobEvent, JobTask } from "./job.ts";
import { type PreparedTask, TaskPreparation } from "./prepare-tasks.ts";

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
  readonly events: DecoderEvents;
}

/** A task that can be asked: its place in the call, and its answer while it grows. */
interface Asked {
  readonly index: number;
  readonly job: JobTask;
  readonly builder: AnswerBuilder;
}

/** The handlers of florence.v1.Decoder. */
export function decoderHandlers(parts: DecoderParts): Handlers<typeof Decoder> {
  const { manifest, tokenizer, worker, embeddings, admission, newTokensMax, events } = parts;
  let callsAdmitted = 0;
  const preparation = new TaskPreparation(manifest, tokenizer, newTokensMax);
  return {
    async *generate(request, { signal }) {
      if (request.tasks.length === 0) throw new Fault("body_invalid", "The call has no task.");
      if (request.tasks.length > tasksMax) throw new Fault("body_invalid", `A call takes at most ${tasksMax} tasks.`);
      const prepared = await preparation.prepare(request, signal);
      const asked: Asked[] = [];
      for (const [index, task] of prepared.entries()) {
        if ("error" in task) {
          events.taskRefused({ code: task.error.code });
          yield problem(index, task);
        } else {
          const builder = new AnswerBuilder(tokenizer, task.row, task.job, request, manifest.config.text.decoderStart);
          asked.push({ index, job: task.job, builder });
        }
      }
      if (asked.length === 0) return;

      const cameMs = performance.now();
      using _place = await admission.acquire(signal);
      const call = callsAdmitted++;
      events.callAdmitted({ call, tasks: asked.length, waitedMs: performance.now() - cameMs });
      const embedding = await embeddings.get(request.embeddingKey, request.holder, signal);
      const queue = new EventQueue<JobEvent>();
      const leaving = new AbortController();
      const job = {
        call,
        imageKey: request.embeddingKey,
        features: embedding.data,
        tasks: asked.map((t) => t.job),
        stream: request.stream,
      };
      const generated = worker.call("decode", job, {
        signal: AbortSignal.any([signal, leaving.signal]),
        onEvent: (event) => queue.push(event as JobEvent),
      });
      generated.then(
        () => queue.end(),
        (error) => queue.end(error),
      );
      let unfinished = asked.length;
      let code = "cancelled"; // Unless something else ends the call, its reader has left.
      try {
        for await (const event of queue) {
          if (event.kind === "finished") unfinished--;
          const task = asked[event.task] as Asked;
          tell(events, event, task);
          const beganMs = performance.now();
          const wires = task.builder.events(event);
          const about = { task: task.builder.task, index: task.index };
          if (event.kind === "finished") events.answerParsed({ ...about, ms: performance.now() - beganMs });
          for (const wire of wires) {
            if (wire.case === "region") events.regionClosed(about);
            yield { taskIndex: task.index, event: wire };
          }
        }
      } catch (error) {
        ({ code } = toFault(error));
        throw error;
      } finally {
        if (unfinished > 0) events.tasksAbandoned({ tasks: unfinished, code });
        leaving.abort(); // A reader that left early frees its sequences; after the end this does nothing.
      }
    },
    getDecoderModel: async () => {
      const usage = await worker.call("usage", undefined);
      events.cacheUsed(usage);
      return {
        model: describeModel(manifest, newTokensMax),
        requests: admission.running + admission.waiting,
        sequences: usage.sequences,
        kvBytes: BigInt(usage.kvBytes),
      };
    },
  };
}

/** Says what the worker's news of a task are. */
function tell(events: DecoderEvents, event: JobEvent, { index, builder }: Asked): void {
  const { task, promptTokens, streamedTokens } = builder;
  if (event.kind === "token") {
    events.tokensGenerated({ task, index, tokens: 1 });
    return;
  }
  if (event.kind === "started") {
    if (event.batch) events.promptBatchRun(event.batch);
    events.sequenceJoined({ task, index, queueMs: event.queueMs, promptTokens });
  } else {
    const { finished, timing } = event;
    const tokens = finished.ids.length - 1; // The first is the decoder's start token.
    if (tokens > streamedTokens) events.tokensGenerated({ task, index, tokens: tokens - streamedTokens });
    events.taskFinished({ task, index, tokens, reason: finished.reason, ...timing });
  }
  events.cacheUsed(event.usage);
}

function problem(taskIndex: number, { error }: Extract<PreparedTask, { error: unknown }>): Response {
  return { taskIndex, event: { case: "problem", value: { code: error.code, detail: error.message } } };
}
