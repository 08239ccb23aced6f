import { type Fault, faultTable } from "@florence/service";
import { type Attributes, type SpanContext, SpanKind, trace } from "@opentelemetry/api";
import { contextOf, markFailed } from "./calls.ts";
import { type Call, currentCall } from "./current.ts";
import { routeOf } from "./metrics.ts";
import { attributes as names, other, spanEvents, spans } from "./registry.ts";
import type { Stages } from "./stages.ts";

type Tier = "memory" | "nats";

/** Listeners that make the spans of a call's parts: for each list of events, those that they hear. Each is made when it is asked for. */
export function traceListeners(stages: Stages) {
  return {
    gateway: () => gatewayTraces(stages),
    encoder: () => ({ ...callTraces(), ...embeddingTraces(stages), ...encoderTraces(stages) }),
    decoder: () => ({ ...callTraces(), ...embeddingTraces(stages), ...decoderTraces(stages) }),
    embeddings: () => embeddingTraces(stages),
  };
}

type Made = ReturnType<typeof traceListeners>;
export type TraceListeners = { readonly [R in keyof Made]: ReturnType<Made[R]> };

function setAttributes(attributes: Attributes): void {
  currentCall()?.span?.setAttributes(attributes);
}

function gatewayTraces(stages: Stages) {
  const failed = ({ fault }: { fault: Fault }) => {
    const span = currentCall()?.span;
    if (span && faultTable[fault.code].http >= 500) markFailed(span, fault);
    else span?.setAttribute(names.errorType.name, fault.code);
  };
  return {
    requestReceived({ requestId, method, path }: { requestId: string; method: string; path: string }) {
      const span = currentCall()?.span;
      const route = routeOf(path);
      span?.setAttribute(names.requestId.name, requestId);
      if (route === other) return;
      span?.updateName(`${method} ${route}`);
      span?.setAttribute(names.httpRoute.name, route);
    },
    requestAdmitted({ readMs, waitMs }: { readMs: number; waitMs: number }) {
      stages.add(spans.read, { ms: readMs, agoMs: waitMs });
      stages.add(spans.admission, { ms: waitMs });
    },
    requestAnswered: ({ status }: { status: number }) => setAttributes({ [names.httpStatus.name]: status }),
    requestRefused: failed,
    requestFailed: failed,
    streamFailed: failed,
    imageReceived: ({ bytes }: { bytes: number }) => setAttributes({ [names.imageBytes.name]: bytes }),
    imageFetched({ bytes, ms }: { bytes: number; ms: number }) {
      stages.add(spans.fetch, { ms });
      setAttributes({ [names.imageBytes.name]: bytes });
    },
    generateAsked: ({ tasks }: { tasks: number }) => setAttributes({ [names.tasks.name]: tasks }),
  };
}

function callTraces() {
  const failed = ({ fault }: { fault: Fault }) => {
    const span = currentCall()?.span;
    const row: { readonly grpc?: number } = faultTable[fault.code];
    if (row.grpc !== undefined) span?.setAttribute(names.rpcStatus.name, row.grpc);
    if (span) markFailed(span, fault);
  };
  return { callRefused: failed, callFailed: failed };
}

function encoderTraces(stages: Stages) {
  // Which call an image belongs to that waits for the vision graph, and which made what others wait for.
  const waiting = new WeakMap<object, Call>();
  const makers = new WeakMap<object, SpanContext>();
  return {
    encodingShared({ encoding }: { encoding: object }) {
      const span = currentCall()?.span;
      if (span) makers.set(encoding, span.spanContext());
    },
    imageJoined: ({ by, encoding, waitedMs }: { by: "file" | "pixels"; encoding: object; waitedMs: number }) =>
      void stages.add(spans.encodingWait, {
        ms: waitedMs,
        attributes: { [names.by.name]: by },
        links: [makers.get(encoding)],
      }),
    imageAdmitted: ({ waitedMs }: { waitedMs: number }) => void stages.add(spans.admission, { ms: waitedMs }),
    imageDecoded: ({ width, height, preprocessMs }: { width: number; height: number; preprocessMs: number }) =>
      void stages.add(spans.imageDecode, {
        ms: preprocessMs,
        attributes: { [names.width.name]: width, [names.height.name]: height },
      }),
    imageQueued({ image }: { image: object }) {
      const call = currentCall();
      if (call) waiting.set(image, call);
    },
    batchRun({ images, encodeMs, members }: { images: number; encodeMs: number; members: readonly object[] }) {
      const calls = members.flatMap((member) => waiting.get(member) ?? []);
      const call = calls.find(({ sampled }) => sampled);
      const attributes = { [names.batchSize.name]: images };
      if (!call) return;
      const batch = stages.add(spans.visionBatch, { ms: encodeMs, attributes, links: calls.map(contextOfCall), call });
      for (const member of calls) stages.add(spans.encode, { ms: encodeMs, links: [batch], call: member });
    },
    imageEncoded({ image, queueMs, encodeMs }: { image: object; queueMs: number; encodeMs: number }) {
      const call = waiting.get(image);
      if (call) stages.add(spans.encodeQueue, { ms: queueMs, agoMs: encodeMs, call });
    },
    imageAnswered: ({ outcome, tier }: { outcome: string; tier?: Tier | undefined }) =>
      setAttributes({ [names.result.name]: outcome, ...(tier && { [names.tier.name]: tier }) }),
  };
}

function contextOfCall({ span }: Call): SpanContext | undefined {
  return span?.spanContext();
}

/** What is known of a task while its answer grows. */
interface Growing {
  promptTokens: number;
  /** How often it was said to have grown; more than once where it is streamed. */
  heard: number;
  firstTokenMs: number;
  readonly regionsMs: number[];
}

function decoderTraces(stages: Stages) {
  const calls = new Map<number, Call>();
  const growing = new WeakMap<Call, Map<number, Growing>>();
  let model = "";
  const growingOf = (index: number): Growing | undefined => {
    const call = currentCall();
    if (!call?.sampled) return undefined;
    const tasks = growing.get(call) ?? new Map<number, Growing>();
    growing.set(call, tasks);
    const task = tasks.get(index) ?? { promptTokens: 0, heard: 0, firstTokenMs: 0, regionsMs: [] };
    tasks.set(index, task);
    return task;
  };
  return {
    serving: (about: { model: string }) => {
      model = about.model;
    },
    callAdmitted({ call: id, tasks, waitedMs }: { call: number; tasks: number; waitedMs: number }) {
      stages.add(spans.admission, { ms: waitedMs });
      setAttributes({
        [names.tasks.name]: tasks,
        [names.genAiOperation.name]: "generate_content",
        [names.genAiModel.name]: model,
      });
      const call = currentCall();
      if (!call?.sampled || call.ended) return;
      calls.set(id, call);
      call.onEnd(() => calls.delete(id));
    },
    embeddingObtained: ({ source, ms }: { source: Tier | "holder"; ms: number }) =>
      void stages.add(spans.embeddingGet, { ms, attributes: { [names.tier.name]: source } }),
    promptBatchRun(about: { prompts: number; promptMs: number; calls: readonly number[] }) {
      const { prompts, promptMs: ms } = about;
      const members = [...new Set(about.calls)].flatMap((id) => calls.get(id) ?? []);
      const attributes = { [names.batchSize.name]: prompts };
      stages.add(spans.promptBatch, {
        ms,
        attributes,
        links: members.map(contextOfCall),
        call: currentCall() ?? members[0],
      });
    },
    sequenceJoined({ index, promptTokens }: { index: number; promptTokens: number }) {
      const task = growingOf(index);
      if (task) task.promptTokens = promptTokens;
    },
    tokensGenerated({ index }: { index: number }) {
      const task = growingOf(index);
      if (task && task.heard++ === 0) task.firstTokenMs = performance.now();
    },
    regionClosed: ({ index }: { index: number }) => void growingOf(index)?.regionsMs.push(performance.now()),
    taskFinished(about: {
      task: string;
      index: number;
      tokens: number;
      reason: string;
      queueMs: number;
      promptMs: number;
      decodeMs: number;
    }) {
      const { index, task, tokens, queueMs, promptMs, decodeMs } = about;
      const grown = growingOf(index);
      const attributes = { [names.task.name]: task, [names.index.name]: index };
      stages.add(spans.decodeQueue, { ms: queueMs, agoMs: decodeMs + promptMs, attributes });
      stages.add(spans.prompt, { ms: promptMs, agoMs: decodeMs, attributes });
      stages.add(spans.decode, {
        ms: decodeMs,
        attributes: {
          ...attributes,
          [names.genAiInputTokens.name]: grown?.promptTokens ?? 0,
          [names.genAiOutputTokens.name]: tokens,
          [names.genAiFinishReasons.name]: [about.reason],
        },
        events: [
          ...(grown && grown.heard > 1 ? [{ name: spanEvents.firstToken.name, atMs: grown.firstTokenMs }] : []),
          ...(grown?.regionsMs ?? []).map((atMs) => ({ name: spanEvents.regionClosed.name, atMs })),
        ],
      });
    },
    answerParsed: ({ task, index, ms }: { task: string; index: number; ms: number }) =>
      void stages.add(spans.parse, { ms, attributes: { [names.task.name]: task, [names.index.name]: index } }),
  };
}

// The name that leases have unless a test says otherwise.
const leaseBucket = "florence-leases";

function embeddingTraces(stages: Stages) {
  const bucketStage = (
    operation: "get" | "put",
    { bucket, bytes, ms }: { bucket: string; bytes: number; ms: number },
  ) => ({
    ms,
    kind: operation === "get" ? SpanKind.CLIENT : SpanKind.PRODUCER,
    attributes: {
      [names.messagingSystem.name]: "nats",
      [names.messagingDestination.name]: bucket,
      [names.messagingOperation.name]: operation,
      [names.messagingBytes.name]: bytes,
    },
  });
  const of = ({ name }: { name: string }, { bucket }: { bucket: string }) => ({
    name: name.replace("{bucket}", bucket),
  });
  // Who wrote what a call has read last, where that was a lease: the encoder that it then waits for.
  const holders = new WeakMap<Call, SpanContext>();
  return {
    embeddingFound: ({ tier }: { tier: Tier }) =>
      void stages.add(spans.lookup, { ms: 0, attributes: { [names.tier.name]: tier, [names.result.name]: "hit" } }),
    embeddingMissed: ({ tier }: { tier: Tier }) =>
      void stages.add(spans.lookup, { ms: 0, attributes: { [names.tier.name]: tier, [names.result.name]: "miss" } }),
    bucketRead(about: { bucket: string; bytes: number; ms: number; header: (name: string) => string | undefined }) {
      const writer = trace.getSpanContext(contextOf(about.header));
      const call = currentCall();
      if (call && writer && about.bucket === leaseBucket) holders.set(call, writer);
      stages.add(of(spans.natsGet, about), { ...bucketStage("get", about), links: [writer] });
    },
    bucketWritten: (about: { bucket: string; bytes: number; ms: number }) =>
      void stages.add(of(spans.natsPut, about), bucketStage("put", about)),
    leaseAwaited({ ended, waitedMs }: { ended: string; waitedMs: number }) {
      const call = currentCall();
      stages.add(spans.encodingWait, {
        ms: waitedMs,
        attributes: { [names.by.name]: "lease", [names.ended.name]: ended },
        links: [call && holders.get(call)],
      });
    },
  };
}
