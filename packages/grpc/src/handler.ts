import { once } from "node:events";
import { create, type DescMethod, type MessageInitShape } from "@bufbuild/protobuf";
import { type CallContext, Fault, faultTable, type Tracing, toFault } from "@florence/service";
import type { handleServerStreamingCall, handleUnaryCall, ServerUnaryCall, ServerWritableStream } from "@grpc/grpc-js";
import type { CallEvents } from "./events.ts";
import { toStatus } from "./status.ts";
import { fullName } from "./traced.ts";

type UnaryHandler = (request: object, context: CallContext) => Promise<object>;
/** Where calls are told of. */
interface Heard {
  readonly events: CallEvents;
  readonly tracing: Tracing;
}

type StreamingHandler = (request: object, context: CallContext) => AsyncIterable<object>;

/** Wraps a handler of one request and one response for grpc-js. */
export function serveUnary(
  method: DescMethod,
  handler: UnaryHandler,
  { events, tracing }: Heard,
): handleUnaryCall<object, object> {
  return served(tracing, method, async (call, callback) => {
    using scope = new CallScope(call, method, events);
    try {
      const response = responseOf(method, await handler(call.request, scope.context));
      scope.answered();
      callback(null, response);
    } catch (error) {
      const fault = scope.failed(error);
      callback(toStatus(fault));
    }
  });
}

/** Wraps a handler of one request and a stream of responses for grpc-js. */
export function serveStreaming(
  method: DescMethod,
  handler: StreamingHandler,
  { events, tracing }: Heard,
): handleServerStreamingCall<object, object> {
  return served(tracing, method, async (call) => {
    using scope = new CallScope(call, method, events);
    const { signal } = scope.context;
    try {
      // Leaving the loop early calls the iterator's return(), which is where the handler frees what it holds.
      for await (const response of handler(call.request, scope.context)) {
        signal.throwIfAborted();
        // The client reads slower than the handler speaks: pull no further. The signal ends the wait, because grpc-js
        // forgets its callbacks once a call is cancelled.
        if (!call.write(responseOf(method, response))) await once(call, "drain", { signal });
      }
      scope.answered();
      call.end();
    } catch (error) {
      const fault = scope.failed(error);
      if (!call.destroyed) call.emit("error", Object.assign(new Error(fault.detail), toStatus(fault)));
    }
  });
}

/** Has a tracing told when a call begins and ends. */
function served<C extends Call, Rest extends unknown[]>(
  tracing: Tracing,
  method: DescMethod,
  serve: (call: C, ...rest: Rest) => Promise<void>,
) {
  return async (call: C, ...rest: Rest): Promise<void> => {
    const header = (name: string) => call.metadata.get(name).find((value) => typeof value === "string");
    const traced = tracing.serve({ protocol: "grpc", name: fullName(method), header });
    await traced.run(() => serve(call, ...rest)).finally(traced.end);
  };
}

type Call = ServerUnaryCall<object, object> | ServerWritableStream<object, object>;

// The longest that a Node timer can wait: 24.8 days.
const timerMsMax = 2 ** 31 - 1;

/** The context of one call, and what must be undone when its handler is through. */
class CallScope implements Disposable {
  readonly context: CallContext;
  readonly #controller = new AbortController();
  readonly #call: Call;
  readonly #events: CallEvents;
  readonly #method: DescMethod;
  readonly #beganMs = performance.now();
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(call: Call, method: DescMethod, events: CallEvents) {
    this.#call = call;
    this.#method = method;
    this.#events = events;
    // The wire carries a duration, of which grpc-js made a time of the wall clock a moment ago.
    const leftMs = Number(call.getDeadline()) - Date.now();
    this.context = {
      signal: this.#controller.signal,
      deadline: Number.isFinite(leftMs) ? this.#beganMs + leftMs : undefined,
      peer: call.getPeer(),
      metadata: textMetadata(call),
    };
    call.on("cancelled", this.#abort);
    // grpc-js has a deadline timer too, but it tells the handler only once the status is sent, which a client that
    // stopped reading delays for ever.
    if (Number.isFinite(leftMs)) this.#timer = setTimeout(this.#abort, Math.min(leftMs, timerMsMax));
  }

  answered(): void {
    this.#events.callAnswered(this.#about());
  }

  /** Says that the call failed; with the reason of its abort where there was one, else with the error itself. */
  failed(error: unknown): Fault {
    const fault = toFault(this.#controller.signal.aborted ? this.#controller.signal.reason : error);
    if (fault.code === "internal") this.#events.callFailed({ ...this.#about(), fault });
    else this.#events.callRefused({ ...this.#about(), fault });
    return fault;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#call.removeListener("cancelled", this.#abort);
  }

  #about() {
    return { method: fullName(this.#method), peer: this.context.peer, ms: performance.now() - this.#beganMs };
  }

  readonly #abort = (): void => {
    const { deadline = Number.POSITIVE_INFINITY } = this.context;
    // A timer may fire within the millisecond before.
    const code = performance.now() > deadline - 1 ? "deadline_exceeded" : "cancelled";
    this.#controller.abort(new Fault(code, `${faultTable[code].title}.`));
  };
}

function textMetadata(call: Call): Record<string, string> {
  const entries: Array<[string, string]> = [];
  for (const [key, value] of Object.entries(call.metadata.getMap())) {
    if (typeof value === "string") entries.push([key, value]);
  }
  return Object.fromEntries(entries);
}

function responseOf(method: DescMethod, response: object): object {
  return create(method.output, response as MessageInitShape<typeof method.output>);
}
