import type { Fault } from "@florence/service";
import { type Call, currentCall } from "./current.ts";
import { beginAtZero, type Instruments } from "./instruments.ts";
import { other, routes } from "./registry.ts";

const seconds = (ms: number): number => ms / 1000;
const bytesPer = { imageReceived: "body", imageFetched: "url" } as const;

type Service = "encoder" | "decoder";
type Tier = "memory" | "nats";

/** Listeners that record metrics: for each list of events, those that they hear. Each is made when it is asked for. */
export function metricListeners(record: Instruments) {
  return {
    gateway: () => gatewayMetrics(record),
    encoder: () => ({
      ...callMetrics(record),
      ...workerMetrics(record),
      ...embeddingMetrics(record),
      ...encoderMetrics(record),
    }),
    decoder: () => ({
      ...callMetrics(record),
      ...workerMetrics(record),
      ...embeddingMetrics(record),
      ...decoderMetrics(record),
    }),
    embeddings: () => embeddingMetrics(record),
  };
}

type Made = ReturnType<typeof metricListeners>;
export type MetricListeners = { readonly [R in keyof Made]: ReturnType<Made[R]> };

function gatewayMetrics(record: Instruments) {
  beginAtZero(record, ["refusals", "tasks", "retries", "reencodings", "peersAvoided"]);
  let running = 0;
  const peers = { encoder: 0, decoder: 0 };
  const answers = new WeakMap<Call, { status: string; route: string; tokens: boolean }>();
  const refused = ({ fault }: { fault: Fault }) => record.refusals(1, { code: fault.code });
  const foundPeer = (service: Service, by: 1 | -1) => {
    peers[service] += by;
    record.peers(peers[service], { service });
  };
  return {
    requestReceived({ path }: { path: string }) {
      const call = currentCall();
      if (!call) return;
      const answer = { status: "aborted", route: routeOf(path), tokens: false };
      answers.set(call, answer);
      record.requestsRunning(++running);
      call.onEnd(() => {
        record.requestsRunning(--running);
        const { route, status } = answer;
        record.requestSeconds(seconds(performance.now() - call.beganMs), { route, status: status as "2xx" });
      });
    },
    requestAnswered({ status }: { status: number }) {
      const answer = answerOf(answers);
      if (answer) answer.status = `${Math.floor(status / 100)}xx`;
    },
    requestAdmitted: ({ waitMs }: { waitMs: number }) => record.gatewayWait(seconds(waitMs)),
    requestRefused: refused,
    requestFailed: refused,
    streamFailed: refused,
    imageReceived: ({ bytes }: { bytes: number }) => record.imageBytes(bytes, { source: bytesPer.imageReceived }),
    imageFetched({ bytes, ms }: { bytes: number; ms: number }) {
      record.imageBytes(bytes, { source: bytesPer.imageFetched });
      record.imageFetchSeconds(seconds(ms));
    },
    encodeRetried: () => record.retries(1, { service: "encoder" }),
    generateRetried: () => record.retries(1, { service: "decoder" }),
    embeddingEvicted: () => record.reencodings(1),
    tokenGenerated() {
      const call = currentCall();
      const answer = answerOf(answers);
      if (!call || !answer || answer.tokens) return;
      answer.tokens = true;
      record.firstTokenSeconds(seconds(performance.now() - call.beganMs));
    },
    taskFinished: ({ task }: { task: string }) => record.tasks(1, { task, result: "answered" }),
    taskFailed: ({ task }: { task: string }) => record.tasks(1, { task, result: "failed" }),
    peerFound: ({ service }: { service: Service }) => foundPeer(service, 1),
    peerGone: ({ service }: { service: Service }) => foundPeer(service, -1),
    peerAvoided: ({ service }: { service: Service }) => record.peersAvoided(1, { service }),
  };
}

function answerOf<A>(answers: WeakMap<Call, A>): A | undefined {
  const call = currentCall();
  return call && answers.get(call);
}

/** The route of a path; paths that nobody serves are one. */
export function routeOf(path: string): (typeof routes)[number] {
  return routes.find((route) => route === path) ?? other;
}

function callMetrics(record: Instruments) {
  type Ended = { method: string; ms: number };
  const ended = ({ method, ms }: Ended, code: string) =>
    record.rpcSeconds(seconds(ms), { method: method as typeof other, code });
  const failed = (about: Ended & { fault: Fault }) => ended(about, about.fault.code);
  return { callAnswered: (about: Ended) => ended(about, "ok"), callRefused: failed, callFailed: failed };
}

function workerMetrics(record: Instruments) {
  type OfWorker = { worker: string };
  beginAtZero(record, ["workerCrashes"]);
  return {
    workerReady: ({ worker, ms }: OfWorker & { ms: number }) =>
      record.modelLoad(seconds(ms), { worker: worker as typeof other }),
    workerCrashed: ({ worker }: OfWorker) => record.workerCrashes(1, { worker: worker as typeof other }),
  };
}

function encoderMetrics(record: Instruments) {
  beginAtZero(record, ["images", "encodingsSaved"]);
  for (const queue of ["admission", "vision"] as const) record.imagesWaiting(0, { queue });
  return {
    imageAnswered(about: {
      outcome: "hit" | "miss" | "coalesced";
      tier?: Tier | undefined;
      preprocessMs: number;
      encodeMs: number;
    }) {
      const { outcome: result, tier = "none", preprocessMs, encodeMs } = about;
      record.images(1, { result, tier });
      if (result === "miss") record.encodeSeconds(seconds(preprocessMs + encodeMs));
      else record.encodingsSaved(1);
    },
    imageAdmitted: ({ waitedMs }: { waitedMs: number }) =>
      record.encoderWait(seconds(waitedMs), { queue: "admission" }),
    imageDecoded: ({ preprocessMs }: { preprocessMs: number }) => record.imageDecodeSeconds(seconds(preprocessMs)),
    imagesWaiting: ({ queue, waiting }: { queue: "admission" | "vision"; waiting: number }) =>
      record.imagesWaiting(waiting, { queue }),
    batchRun({ images, encodeMs }: { images: number; encodeMs: number }) {
      record.batchSize(images, { graph: "vision" });
      record.visionSeconds(seconds(encodeMs));
    },
    imageEncoded: ({ queueMs }: { queueMs: number }) => record.encoderWait(seconds(queueMs), { queue: "vision" }),
  };
}

function decoderMetrics(record: Instruments) {
  beginAtZero(record, ["embeddingsObtained", "abandoned"]);
  record.callsWaiting(0);
  return {
    callsWaiting: ({ waiting }: { waiting: number }) => record.callsWaiting(waiting),
    callAdmitted: ({ waitedMs }: { waitedMs: number }) => record.decoderWait(seconds(waitedMs), { queue: "admission" }),
    embeddingObtained: ({ source }: { source: Tier | "holder" }) => record.embeddingsObtained(1, { source }),
    embeddingGone: () => record.embeddingsObtained(1, { source: "nobody" }),
    promptBatchRun(about: { prompts: number; promptMs: number; promptTokens: number; paddedTokens: number }) {
      const { prompts, promptMs, promptTokens, paddedTokens } = about;
      record.batchSize(prompts, { graph: "prompt" });
      record.promptSeconds(seconds(promptMs));
      record.promptSlots(promptTokens, { kind: "prompt" });
      record.promptSlots(paddedTokens - promptTokens, { kind: "padding" });
    },
    sequenceJoined({ task, queueMs, promptTokens }: { task: string; queueMs: number; promptTokens: number }) {
      record.decoderWait(seconds(queueMs), { queue: "batch" });
      record.promptTokens(promptTokens, { task });
    },
    tokensGenerated: ({ task, tokens }: { task: string; tokens: number }) => record.outputTokens(tokens, { task }),
    taskFinished({ task, tokens, decodeMs }: { task: string; tokens: number; decodeMs: number }) {
      record.decodeSeconds(seconds(decodeMs), { task });
      if (tokens > 0) record.tokenTime(seconds(decodeMs / tokens));
    },
    tasksAbandoned: ({ tasks, code }: { tasks: number; code: string }) => record.abandoned(tasks, { code }),
    cacheUsed({ sequences, kvBytes, rows, rowsMax }: Record<"sequences" | "kvBytes" | "rows" | "rowsMax", number>) {
      record.sequences(sequences);
      record.kvBytes(kvBytes);
      record.kvSlots(rows);
      record.kvSlotsMax(rowsMax);
    },
  };
}

function embeddingMetrics(record: Instruments) {
  beginAtZero(record, ["evictions"]);
  type OfTier = { tier: Tier };
  const results = {
    found: "hit",
    missing: "miss",
    unreachable: "unavailable",
    invalid: "corrupt",
    untrusted: "untrusted",
  } as const;
  const embeddingBucket = "florence-embeddings";
  const unread = (result: "timeout" | "unavailable" | "corrupt") => {
    return ({ bucket }: { bucket: string }) => {
      if (bucket === embeddingBucket) record.lookups(1, { tier: "nats", result });
    };
  };
  return {
    embeddingFound: ({ tier }: OfTier) => record.lookups(1, { tier, result: "hit" }),
    embeddingMissed: ({ tier }: OfTier) => record.lookups(1, { tier, result: "miss" }),
    embeddingFetched: ({ result }: { result: keyof typeof results }) =>
      record.lookups(1, { tier: "holder", result: results[result] }),
    embeddingStored: ({ tier, bytes }: OfTier & { bytes: number }) => record.storedBytes(bytes, { tier }),
    embeddingEvicted: () => record.evictions(1, { reason: "room" }),
    embeddingExpired: () => record.evictions(1, { reason: "age" }),
    aliasFound: () => record.aliases(1, { result: "hit" }),
    aliasMissed: () => record.aliases(1, { result: "miss" }),
    readTimedOut: unread("timeout"),
    readUnavailable: unread("unavailable"),
    valueCorrupt: unread("corrupt"),
    bucketRead({ bytes, ms }: { bytes: number; ms: number }) {
      record.natsBytes(bytes, { direction: "read" });
      record.natsSeconds(seconds(ms), { operation: "get" });
    },
    bucketWritten({ bytes, ms }: { bytes: number; ms: number }) {
      record.natsBytes(bytes, { direction: "written" });
      record.natsSeconds(seconds(ms), { operation: "put" });
    },
    valueWritten: () => record.natsWrites(1, { result: "written" }),
    valueDropped: () => record.natsWrites(1, { result: "dropped" }),
    valueFailed: () => record.natsWrites(1, { result: "failed" }),
    natsConnected: () => record.natsConnections(1),
    natsDisconnected: () => record.natsConnections(0),
    breakerOpened: () => record.breakers(1),
    leaseAcquired: ({ takenOver }: { takenOver: boolean }) =>
      record.leases(1, { result: takenOver ? "taken_over" : "acquired" }),
    leaseHeld: () => record.leases(1, { result: "held" }),
    leaseUnavailable: () => record.leases(1, { result: "unavailable" }),
    leaseLost: () => record.leases(1, { result: "lost" }),
    leaseAwaited: (about: {
      ended: "appeared" | "released" | "expired" | "budget" | "unavailable";
      waitedMs: number;
    }) => record.leaseWait(seconds(about.waitedMs), { ended: about.ended }),
  };
}
