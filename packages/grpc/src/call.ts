import { create, type DescMethod, type MessageInitShape } from "@bufbuild/protobuf";
import { type CallOptions, Fault, toFault } from "@florence/service";
import {
  type Client as Channel,
  type CallOptions as ChannelCallOptions,
  type ClientReadableStream,
  Metadata,
} from "@grpc/grpc-js";
import { methodDefinition } from "./method.ts";
import { fromStatus } from "./status.ts";

type ResolvedOptions = CallOptions & { deadlineMs: number };

/** Makes one unary call. Rejects with a Fault. */
export function unaryCall(
  channel: Channel,
  method: DescMethod,
  request: object,
  options: ResolvedOptions,
): Promise<object> {
  const definition = methodDefinition(method);
  const { signal } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(toFault(signal.reason));
    const call = channel.makeUnaryRequest(
      definition.path,
      definition.requestSerialize,
      definition.responseDeserialize,
      requestOf(method, request),
      metadataOf(options),
      channelOptionsOf(options),
      (error, response) => {
        signal?.removeEventListener("abort", cancel);
        if (error !== null) reject(faultOf(error, signal));
        else if (response === undefined) reject(new Fault("internal", "A service sent no answer."));
        else resolve(response);
      },
    );
    const cancel = () => call.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
  });
}

/**
 * Makes one server-streaming call for each iteration. At most 16 messages wait unread, grpc-js asks for no more. Reading one rejects with
 * a Fault: what the server said, `unavailable`, `deadline_exceeded`, or the reason of the signal.
 */
export function streamingCall(
  channel: Channel,
  method: DescMethod,
  request: object,
  options: ResolvedOptions,
): AsyncIterable<object> {
  return {
    [Symbol.asyncIterator]() {
      if (options.signal?.aborted) return failing(toFault(options.signal.reason));
      const definition = methodDefinition(method);
      const call = channel.makeServerStreamRequest(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        requestOf(method, request),
        metadataOf(options),
        channelOptionsOf(options),
      );
      return responses(call, options.signal);
    },
  };
}

function responses(call: ClientReadableStream<object>, signal: AbortSignal | undefined): AsyncIterator<object> {
  const messages = call[Symbol.asyncIterator]();
  let returned = false;
  let failure: unknown;
  const cancel = () => call.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  // A status may come while nobody awaits a message: unheard it would crash the process, and later look like an end.
  call.on("error", (error) => {
    failure = error;
  });
  const finish = () => signal?.removeEventListener("abort", cancel);
  return {
    async next() {
      try {
        const result = await messages.next();
        if (result.done && failure !== undefined) throw failure;
        if (result.done) finish();
        return result;
      } catch (error) {
        finish();
        if (returned) return { done: true, value: undefined };
        throw faultOf(error, signal);
      }
    },
    // Not an async generator's return, which would wait for a pending next: cancelling is what ends that wait.
    async return() {
      returned = true;
      finish();
      call.cancel();
      await messages.return?.().catch(() => {});
      return { done: true, value: undefined };
    },
  };
}

/** Why a call failed. A server that is made to stop cancels what it has: then nobody here went away, it is no longer there. */
function faultOf(error: unknown, signal: AbortSignal | undefined): Fault {
  if (signal?.aborted) return toFault(signal.reason);
  const fault = fromStatus(error);
  return fault.code === "cancelled" ? new Fault("unavailable", "The service ended the call.", { cause: error }) : fault;
}

function failing(fault: Fault): AsyncIterator<object> {
  return { next: () => Promise.reject(fault) };
}

function requestOf(method: DescMethod, request: object): object {
  return create(method.input, request as MessageInitShape<typeof method.input>);
}

function metadataOf(options: CallOptions): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(options.metadata ?? {})) metadata.set(key, value);
  return metadata;
}

function channelOptionsOf({ deadlineMs }: ResolvedOptions): ChannelCallOptions {
  return Number.isFinite(deadlineMs) ? { deadline: Date.now() + deadlineMs } : {};
}
