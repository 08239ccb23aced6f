import { faultTable, toFault } from "@florence/service";
import type { GatewayEvents } from "../events.ts";
import type { Call } from "../http/call.ts";
import { toProblem } from "../http/problem.ts";
import { eventStream, type ServerSentEvent } from "../http/sse.ts";
import type { AnnotateEvent } from "./answer.ts";

// After the deadline, a reader has this long to take the last events before it is cut off.
const graceMs = 1_000;

/**
 * Answers with a call's events. Waits for the first one, so that a call that is refused has its status. What `scope`
 * holds is kept until the stream has ended; a reader that goes away ends the call.
 */
export async function annotateStream(
  events: AsyncGenerator<AnnotateEvent>,
  call: Call,
  scope: DisposableStack,
  { streamFailed }: Pick<GatewayEvents, "streamFailed">,
): Promise<Response> {
  const first = await events.next();
  const resources = scope.move();
  const body = eventStream(withFaults(first, events, call, streamFailed), {
    signal: call.signal,
    graceMs,
    onEnd: () => {
      call.abort();
      resources.dispose();
    },
  });
  return new Response(body, {
    headers: {
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      "x-accel-buffering": "no", // Or nginx collects the events.
    },
  });
}

/** The events from `first` on. A fault of the whole call, too late for a status, is the last event: `error` without an index. */
async function* withFaults(
  first: IteratorResult<AnnotateEvent>,
  events: AsyncGenerator<AnnotateEvent>,
  { requestId }: Call,
  failed: GatewayEvents["streamFailed"],
): AsyncGenerator<ServerSentEvent> {
  try {
    if (first.done) return;
    yield first.value;
    yield* events;
  } catch (error) {
    const fault = toFault(error);
    if (faultTable[fault.code].http >= 500) failed({ requestId, fault });
    yield { event: "error", data: { error: toProblem(fault, requestId) } };
  } finally {
    await events.return(undefined); // A reader may leave before the first event has been handed on.
  }
}
