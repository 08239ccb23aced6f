import { embeddingEvents, type Tier } from "@florence/embeddings";
import { callEvents, logCalls } from "@florence/grpc";
import { type Events, event, type Listener, type Logger } from "@florence/service";
import { logWorkers, workerEvents } from "@florence/worker";

/** Everything that happens in a decoder. Times are milliseconds; tasks are named by their own names, such as caption. */
export const decoderEvents = {
  ...callEvents,
  ...embeddingEvents,
  ...workerEvents,
  serving: event<{ address: string; model: string; precision: string }>("The decoder takes calls."),
  callAdmitted: event<{ tasks: number; waitedMs: number }>(
    "A call took one of the places of those that are scheduled.",
  ),
  embeddingObtained: event<{ source: Tier | "holder" }>("A call's embedding was found."),
  embeddingGone: event<{ reason: "checkpoint" | "dims" | "nobody" }>(
    "A call's embedding is of another checkpoint, has other dims, or nobody has it: the image must be sent again.",
  ),
  taskRefused: event<{ code: string }>("A task cannot be asked; the others of its call go on."),
  promptBatchRun: event<{ prompts: number; images: number; promptMs: number }>("The prompt graph ran once."),
  sequenceJoined: event<{ task: string; queueMs: number; promptTokens: number }>("A task's sequence joined the batch."),
  tokensGenerated: event<{ task: string; tokens: number }>(
    "An answer grew: by each token where they are streamed, else by all of them at its end.",
  ),
  regionClosed: event<{ task: string }>("A region of a streamed answer is complete."),
  taskFinished: event<{ task: string; tokens: number; reason: "stop" | "length" } & TaskTiming>(
    "A task has its answer.",
  ),
  tasksAbandoned: event<{ tasks: number; code: string }>(
    "Tasks ended without an answer: their caller left, or their worker fell.",
  ),
  cacheUsed: event<{ sequences: number; kvBytes: number }>(
    "What the batch holds now: sequences, and bytes of keys and values.",
  ),
};

/** Where the time of a task went. */
export interface TaskTiming {
  readonly queueMs: number;
  readonly promptMs: number;
  readonly decodeMs: number;
}

/** Where the parts of a decoder say what happens. */
export type DecoderEvents = Events<typeof decoderEvents>;

/** Logs what an operator should know. */
export function logDecoder(log: Logger): Listener<typeof decoderEvents> {
  return {
    ...logCalls(log),
    ...logWorkers(log),
    serving: (about) => log.info(about, "decoder serving"),
  };
}
