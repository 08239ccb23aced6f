import { embeddingEvents, type Tier } from "@florence/embeddings";
import { callEvents, logCalls } from "@florence/grpc";
import { type Events, event, type Listener, type Logger } from "@florence/service";
import { logWorkers, workerEvents } from "@florence/worker";
import type { PromptBatch, Usage } from "./job.ts";

/** A task by its name, and its place in its call. */
interface OfTask {
  readonly task: string;
  readonly index: number;
}

/** Everything that happens in a decoder. Times are milliseconds; tasks are named by their own names, such as caption. */
export const decoderEvents = {
  ...callEvents,
  ...embeddingEvents,
  ...workerEvents,
  serving: event<{ address: string; model: string; precision: string }>("The decoder takes calls."),
  callsWaiting: event<{ waiting: number }>(
    "How many calls wait for one of the places of those that are scheduled has changed.",
  ),
  callAdmitted: event<{ call: number; tasks: number; waitedMs: number }>(
    "A call took one of the places of those that are scheduled; its number in this process.",
  ),
  embeddingObtained: event<{ source: Tier | "holder"; ms: number }>("A call's embedding was found."),
  embeddingGone: event<{ reason: "checkpoint" | "dims" | "nobody" }>(
    "A call's embedding is of another checkpoint, has other dims, or nobody has it: the image must be sent again.",
  ),
  taskRefused: event<{ code: string }>("A task cannot be asked; the others of its call go on."),
  promptBatchRun: event<PromptBatch>("The prompt graph ran once."),
  sequenceJoined: event<OfTask & { queueMs: number; promptTokens: number }>("A task's sequence joined the batch."),
  tokensGenerated: event<OfTask & { tokens: number }>(
    "An answer grew: by each token where they are streamed, else by all of them at its end.",
  ),
  regionClosed: event<OfTask>("A region of a streamed answer is complete."),
  taskFinished: event<OfTask & { tokens: number; reason: "stop" | "length" } & TaskTiming>("A task has its answer."),
  answerParsed: event<OfTask & { ms: number }>("An answer's text was read as regions."),
  tasksAbandoned: event<{ tasks: number; code: string }>(
    "Tasks ended without an answer: their caller left, or their worker fell.",
  ),
  cacheUsed: event<Usage>("What the batch holds now."),
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
