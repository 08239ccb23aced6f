import { embeddingEvents, type Tier } from "@florence/embeddings";
import { callEvents, logCalls } from "@florence/grpc";
import { type Events, event, type Listener, type Logger } from "@florence/service";
import { logProcesses, logWorkers, processEvents, workerEvents } from "@florence/worker";
import type { Outcome } from "./shared-encoding.ts";

/** Everything that happens in an encoder. Times are milliseconds. */
export const encoderEvents = {
  ...callEvents,
  ...embeddingEvents,
  ...workerEvents,
  ...processEvents,
  serving: event<{ address: string; advertised: string; model: string; precision: string }>("The encoder takes calls."),
  imageAnswered: event<{
    outcome: Outcome;
    tier?: Tier | undefined;
    preprocessMs: number;
    queueMs: number;
    encodeMs: number;
  }>("A call has its image's embedding in the store."),
  imageLookedUp: event<{ result: "hit" | "miss"; tier?: Tier | undefined }>(
    "The store was asked for the embedding of a file that was seen before.",
  ),
  encodingShared: event<{ encoding: object }>(
    "A call has done what others may have joined meanwhile; they name the same object.",
  ),
  imageJoined: event<{ by: "file" | "pixels"; encoding: object; waitedMs: number }>(
    "A call waited for what another call of this process had begun.",
  ),
  imageAdmitted: event<{ waitedMs: number }>("An image took one of the places of those that are decoded and encoded."),
  imageDecoded: event<{ width: number; height: number; preprocessMs: number }>(
    "An image was decoded, oriented, hashed and resized; its size in pixels.",
  ),
  imageQueued: event<{ image: object }>(
    "An image waits for the vision graph; the object stands for it in later events.",
  ),
  imagesWaiting: event<{ queue: "admission" | "vision"; waiting: number }>(
    "How many images wait has changed: for a place, or for the vision graph.",
  ),
  batchRun: event<{ images: number; encodeMs: number; members: readonly object[] }>("The vision graph ran once."),
  imageEncoded: event<{ image: object; queueMs: number; encodeMs: number }>("An image went through the vision graph."),
  encodingGivenUp: event<{ key: string; holder: string; ended: string }>(
    "Another encoder had the lease on an image and did not finish it.",
  ),
  leaseKept: event<{ error: unknown }>("A lease could not be given back; it runs out by itself."),
};

/** Where the parts of an encoder say what happens. */
export type EncoderEvents = Events<typeof encoderEvents>;

/** Logs what an operator should know. */
export function logEncoder(log: Logger): Listener<typeof encoderEvents> {
  return {
    ...logCalls(log),
    ...logWorkers(log),
    ...logProcesses(log),
    serving: ({ advertised: holder, ...about }) => log.info({ ...about, holder }, "encoder serving"),
    encodingGivenUp: (about) => log.debug(about, "another encoder did not finish an image"),
    leaseKept: ({ error }) => log.error({ err: error }, "a lease was not given back"),
  };
}
