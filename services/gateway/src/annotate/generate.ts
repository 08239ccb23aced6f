import type { GenerateResponse, TaskResult } from "@florence/proto/decoder";
import { Fault, isFaultCode, orAborted, sleep, toFault } from "@florence/service";
import type { GatewayEvents } from "../events.ts";
import type { Call } from "../http/call.ts";
import { toProblem } from "../http/problem.ts";
import type { DecoderClient } from "../peers/clients.ts";
import type { Retries } from "../peers/retry.ts";
import { type AnnotateEvent, float, isFiniteEvent, regionJson, resultJson } from "./answer.ts";
import type { ImageHandle } from "./image-id.ts";
import type { AnnotateRequest } from "./request.ts";
import { decoderInput, type TaskRequest } from "./task-request.ts";

/** Milliseconds that the slowest task spent in each part of the decoder. */
export interface DecodeTimes {
  readonly decode_queue: number;
  readonly prompt: number;
  readonly decode: number;
}

/** What is left to say when all tasks have ended. */
export interface GenerateSummary {
  /** The handle under which the embedding was last found: another than at the start where the image was encoded again. */
  readonly image: ImageHandle;
  readonly times: DecodeTimes;
}

export interface GenerateContext {
  readonly decoder: DecoderClient;
  readonly retries: Retries;
  readonly events: GatewayEvents;
  readonly call: Call;
  /** Encodes the image again when its embedding is gone; absent where its bytes are not at hand. */
  readonly encodeAgain?: (() => Promise<ImageHandle>) | undefined;
}

type TaskEvent = Exclude<AnnotateEvent, { event: "done" }>;

/**
 * Runs a call's tasks on an encoded image. Every task ends in one result or one error, whatever befalls the others.
 * Throws a Fault only while no task has ended: then there is nothing to lose.
 */
export async function* generate(
  request: AnnotateRequest,
  encoded: ImageHandle,
  context: GenerateContext,
): AsyncGenerator<TaskEvent, GenerateSummary> {
  const { call, events, retries } = context;
  const { requestId } = call;
  const nameOf = (index: number) => request.tasks[index]?.row.name ?? "";
  const problemOf = (index: number, fault: Fault): TaskEvent => {
    const task = nameOf(index);
    events.taskFailed({ requestId, index, task, fault });
    return { event: "error", data: { index, task, error: toProblem(fault, requestId) } };
  };

  // The inputs of the tasks that have not ended yet, by the task's place in the request.
  const { pending, refused } = prepare(request.tasks, encoded);
  let image = encoded;
  let times: DecodeTimes = { decode_queue: 0, prompt: 0, decode: 0 };
  let { encodeAgain } = context;
  let ended = 0;
  const started = new Set<number>();
  // Tasks of which the client has been sent something that a second try could contradict.
  const shown = new Set<number>();
  const tries = retries.generate(call);

  while (pending.size > 0) {
    // Why the tasks that are left over after this attempt have no answer.
    let leftOver = new Fault("internal", "The task ended without an answer.", {
      internal: "The decoder's stream ended early.",
    });
    try {
      events.generateAsked({ requestId, tasks: pending.size });
      for await (const [index, event] of attempt(request, image, pending, context)) {
        if (!pending.has(index)) continue; // It has ended, whatever the decoder has to add.
        if (!isFiniteEvent(event)) {
          pending.delete(index);
          ended++;
          yield problemOf(index, new Fault("internal", "", { internal: `The decoder sent a ${event.case} with NaN.` }));
        } else if (event.case === "started") {
          if (started.has(index)) continue; // a second try
          started.add(index);
          yield { event: "started", data: { index, task: nameOf(index), prompt_tokens: event.value.promptTokens } };
        } else if (event.case === "token") {
          const { id, text, logProb } = event.value;
          shown.add(index);
          events.tokenGenerated({ requestId, index });
          yield { event: "token", data: { index, id, text, log_prob: float(logProb) } };
        } else if (event.case === "region") {
          shown.add(index);
          events.regionGenerated({ requestId, index });
          yield { event: "object", data: { index, ...regionJson(event.value) } };
        } else if (event.case === "result") {
          const task = request.tasks[index];
          if (task === undefined) continue;
          pending.delete(index);
          ended++;
          times = slowest(times, event.value);
          const result = resultJson(task, event.value, request.details);
          events.taskFinished({ requestId, index, ...countsOf(result), ...timesOf(event.value) });
          yield { event: "result", data: { index, ...result } };
        } else if (event.case === "problem") {
          const fault = problemFault(event.value.code, event.value.detail);
          if (fault.code === "embedding_evicted") {
            leftOver = fault; // Stays pending: it may be tried again.
          } else {
            pending.delete(index);
            ended++;
            yield problemOf(index, fault);
          }
        }
      }
    } catch (error) {
      leftOver = toFault(error);
    }
    if (pending.size === 0) break;
    if (leftOver.code === "embedding_evicted" && encodeAgain !== undefined) {
      events.embeddingEvicted({ requestId });
      const again = encodeAgain;
      encodeAgain = undefined; // Once: a store that keeps losing embeddings is not to be fought.
      try {
        image = await again();
        continue;
      } catch (error) {
        leftOver = toFault(error);
      }
    }
    const pauseMs = tries.again(leftOver);
    if (pauseMs !== undefined) {
      // The decoder died. What nobody has seen anything of is asked of another; the rest cannot be taken back.
      for (const index of [...pending.keys()].filter((i) => shown.has(i))) {
        pending.delete(index);
        ended++;
        yield problemOf(index, leftOver);
      }
      if (pending.size === 0) break;
      events.generateRetried({ requestId, fault: leftOver, pauseMs, tasks: pending.size });
      await sleep(pauseMs, call.signal);
      continue;
    }
    if (ended === 0) throw leftOver;
    for (const index of pending.keys()) yield problemOf(index, leftOver);
    break;
  }
  // Last, so that a call that fails as a whole can still say so in its status.
  for (const [index, fault] of refused) yield problemOf(index, fault);
  return { image, times };
}

function prepare(tasks: readonly TaskRequest[], image: ImageHandle) {
  const pending = new Map<number, string>();
  const refused = new Map<number, Fault>();
  for (const [index, task] of tasks.entries()) {
    try {
      pending.set(index, decoderInput(task, image));
    } catch (error) {
      refused.set(index, toFault(error));
    }
  }
  return { pending, refused };
}

// The longest answer's tokens, a region for each, and what frames them.
const eventsPerTaskMax = 4096;

/** One call to the decoder with the tasks that are pending now; each event with its task's place in the request. */
async function* attempt(
  request: AnnotateRequest,
  image: ImageHandle,
  pending: ReadonlyMap<number, string>,
  { decoder, call }: GenerateContext,
): AsyncGenerator<[number, GenerateResponse["event"]]> {
  const indexes = [...pending.keys()];
  const responses = decoder.generate(
    {
      embeddingKey: image.key,
      holder: image.holder,
      width: image.width,
      height: image.height,
      tasks: [...pending].map(([index, input]) => ({ name: request.tasks[index]?.row.name ?? "", input })),
      options: request.generation,
      stream: request.stream,
    },
    call.upstreamOptions(),
  );
  let left = eventsPerTaskMax * indexes.length;
  for await (const { taskIndex, event } of untilAborted(responses, call.signal)) {
    if (left-- <= 0) throw unusable("more events than its tasks can have");
    const index = indexes[taskIndex];
    if (index !== undefined) yield [index, event];
  }
}

/** What an iterable gives, until the signal fires: then its reason is thrown, whatever the iterable waits for. */
async function* untilAborted<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = items[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await orAborted(iterator.next(), signal);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    iterator.return?.()?.catch(() => {}); // Not awaited: it may wait for what was given up.
  }
}

/** A decoder whose answer means nothing. Another may do better. */
function unusable(what: string): Fault {
  return new Fault("unavailable", "A decoder's answer cannot be used.", { internal: `The decoder sent ${what}.` });
}

function problemFault(code: string, detail: string): Fault {
  return new Fault(isFaultCode(code) ? code : "internal", detail, { internal: `${code}: ${detail}` });
}

function slowest(times: DecodeTimes, { queueMs, promptMs, decodeMs }: TaskResult): DecodeTimes {
  return {
    decode_queue: Math.max(times.decode_queue, queueMs),
    prompt: Math.max(times.prompt, promptMs),
    decode: Math.max(times.decode, decodeMs),
  };
}

function countsOf({ task, usage }: ReturnType<typeof resultJson>) {
  return { task, promptTokens: usage.prompt_tokens, completionTokens: usage.completion_tokens };
}

function timesOf({ queueMs, promptMs, decodeMs }: TaskResult) {
  return { queueMs, promptMs, decodeMs };
}
