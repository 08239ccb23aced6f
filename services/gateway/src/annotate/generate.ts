import type { GenerateResponse, TaskResult } from "@florence/proto/decoder";
import { Fault, type FaultCode, isFaultCode, toFault } from "@florence/service";
import type { Call } from "../http/call.ts";
import { toProblem } from "../http/problem.ts";
import { type AnnotateEvent, float, regionJson, resultJson } from "./answer.ts";
import type { DecoderClient } from "./encode.ts";
import type { HeldImage } from "./image-id.ts";
import type { AnnotateRequest } from "./request.ts";
import { decoderInput, type TaskRequest } from "./task-request.ts";

/** Milliseconds that the slowest task spent in each part of the decoder. */
export interface DecodeTimes {
  decode_queue: number;
  prompt: number;
  decode: number;
}

export interface GenerateContext {
  readonly decoder: DecoderClient;
  readonly call: Call;
  /** Encodes the image again when its embedding is gone; absent where its bytes are not at hand. */
  readonly encodeAgain?: (() => Promise<HeldImage>) | undefined;
  /** Filled in as results come. */
  readonly times: DecodeTimes;
}

// A second decoder may be the next to go in a rollout; a third is bad luck enough.
const decoderTriesMax = 2;
// A decoder that is started again, or its neighbour, is found meanwhile.
const retryDelayMs = 250;

/**
 * Runs a call's tasks on an encoded image. Every task ends in one result or one error, whatever befalls the others.
 * Throws a Fault only while no task has ended: then there is nothing to lose.
 */
export async function* generate(
  request: AnnotateRequest,
  image: HeldImage,
  context: GenerateContext,
): AsyncGenerator<Exclude<AnnotateEvent, { event: "done" }>> {
  const { call, times } = context;
  const problemOf = (index: number, fault: Fault) => ({
    event: "error" as const,
    data: { index, task: request.tasks[index]?.row.name ?? "", error: toProblem(fault, call.requestId) },
  });

  // The inputs of the tasks that have not ended yet, by the task's place in the request.
  const { pending, refused } = prepare(request.tasks, image);
  let held = image;
  let { encodeAgain } = context;
  let ended = 0;
  const started = new Set<number>();
  // Tasks of which the client has been sent something that a second try could contradict.
  const shown = new Set<number>();
  let triesLeft = decoderTriesMax;

  while (pending.size > 0) {
    // Why the tasks that are left over after this attempt have no answer.
    let leftOver = new Fault("internal", "The task ended without an answer.", {
      internal: "The decoder's stream ended early.",
    });
    try {
      for await (const [index, event] of attempt(request, held, pending, context)) {
        if (event.case === "started") {
          if (started.has(index)) continue; // a second try
          started.add(index);
          const task = request.tasks[index]?.row.name ?? "";
          yield { event: "started", data: { index, task, prompt_tokens: event.value.promptTokens } };
        } else if (event.case === "token") {
          const { id, text, logProb } = event.value;
          shown.add(index);
          yield { event: "token", data: { index, id, text, log_prob: float(logProb) } };
        } else if (event.case === "region") {
          shown.add(index);
          yield { event: "object", data: { index, ...regionJson(event.value) } };
        } else if (event.case === "result") {
          const task = request.tasks[index];
          if (task === undefined || !pending.delete(index)) continue;
          ended++;
          note(times, event.value);
          yield { event: "result", data: { index, ...resultJson(task, event.value, request.details) } };
        } else if (event.case === "problem") {
          const fault = problemFault(event.value.code, event.value.detail);
          if (fault.code === "embedding_evicted") {
            leftOver = fault; // Stays pending: it may be tried again.
          } else if (pending.delete(index)) {
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
      call.log.info("embedding evicted, encoding the image again");
      const again = encodeAgain;
      encodeAgain = undefined; // Once: a store that keeps losing embeddings is not to be fought.
      try {
        held = await again();
        continue;
      } catch (error) {
        leftOver = toFault(error);
      }
    }
    if (leftOver.code === "unavailable" && triesLeft-- > 0) {
      // The decoder died. What nobody has seen anything of is asked of another; the rest cannot be taken back.
      for (const index of [...pending.keys()].filter((i) => shown.has(i))) {
        pending.delete(index);
        ended++;
        yield problemOf(index, leftOver);
      }
      call.log.warn({ err: leftOver, tasks: pending.size }, "decoder unavailable, asking another");
      await call.sleep(retryDelayMs);
      continue;
    }
    if (ended === 0) throw leftOver;
    for (const index of pending.keys()) yield problemOf(index, leftOver);
    break;
  }
  // Last, so that a call that fails as a whole can still say so in its status.
  for (const [index, fault] of refused) yield problemOf(index, fault);
}

function prepare(tasks: readonly TaskRequest[], image: HeldImage) {
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

/** One call to the decoder with the tasks that are pending now; each event with its task's place in the request. */
async function* attempt(
  request: AnnotateRequest,
  held: HeldImage,
  pending: ReadonlyMap<number, string>,
  { decoder, call }: GenerateContext,
): AsyncGenerator<[number, GenerateResponse["event"]]> {
  const indexes = [...pending.keys()];
  const responses = decoder.generate(
    {
      embeddingKey: held.key,
      holder: held.holder,
      width: held.width,
      height: held.height,
      tasks: [...pending].map(([index, input]) => ({ name: request.tasks[index]?.row.name ?? "", input })),
      options: request.generation,
      stream: request.stream,
    },
    call.upstreamOptions(),
  );
  for await (const { taskIndex, event } of responses) {
    const index = indexes[taskIndex];
    if (index !== undefined) yield [index, event];
  }
}

function problemFault(code: string, detail: string): Fault {
  const known: FaultCode = isFaultCode(code) ? code : "internal";
  return new Fault(known, known === code ? detail : "Something went wrong inside the service.", {
    internal: `${code}: ${detail}`,
  });
}

function note(times: DecodeTimes, { queueMs, promptMs, decodeMs }: TaskResult): void {
  times.decode_queue = Math.max(times.decode_queue, queueMs);
  times.prompt = Math.max(times.prompt, promptMs);
  times.decode = Math.max(times.decode, decodeMs);
}
