import { create, type DescMethod, type MessageInitShape } from "@bufbuild/protobuf";
import { type CallOptions, Fault, faultTable, toFault } from "@florence/service";
import { type Client as Channel, type ClientReadableStream, Metadata } from "@grpc/grpc-js";
import { type CallProofs, proofMetadata } from "./call-proof.ts";
import { methodDefinition } from "./method.ts";
import { fromStatus, isOurs } from "./status.ts";

type ResolvedOptions = CallOptions & { deadlineMs: number; proofs: CallProofs | undefined };

/** Makes one unary call. Rejects with a Fault. */
export function unaryCall(
  channel: Channel,
  method: DescMethod,
  request: object,
  options: ResolvedOptions,
): Promise<object> {
  const definition = methodDefinition(method);
  return new Promise((resolve, reject) => {
    if (options.signal?.aborted) return reject(toFault(options.signal.reason));
    const outgoing = new OutgoingCall(definition.path, options);
    const call = channel.makeUnaryRequest(
      definition.path,
      definition.requestSerialize,
      definition.responseDeserialize,
      requestOf(method, request),
      outgoing.metadata,
      (error, response) => {
        outgoing.ended();
        if (error !== null) reject(outgoing.faultOf(error));
        else if (!outgoing.answered) reject(impostor());
        else if (response === undefined) reject(new Fault("internal", "A service sent no answer."));
        else resolve(response);
      },
    );
    outgoing.follow(call);
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
      const outgoing = new OutgoingCall(definition.path, options);
      const call = channel.makeServerStreamRequest(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        requestOf(method, request),
        outgoing.metadata,
      );
      outgoing.follow(call);
      return responses(call, outgoing);
    },
  };
}

function responses(call: ClientReadableStream<object>, outgoing: OutgoingCall): AsyncIterator<object> {
  const messages = call[Symbol.asyncIterator]();
  let returned = false;
  let failure: unknown;
  // A status may come while nobody awaits a message: unheard it would crash the process, and later look like an end.
  call.on("error", (error) => {
    failure = error;
  });
  return {
    async next() {
      try {
        const result = await messages.next();
        if (result.done && failure !== undefined) throw failure;
        if (!outgoing.answered) throw impostor();
        if (result.done) outgoing.ended();
        return result;
      } catch (error) {
        outgoing.ended();
        if (returned) return { done: true, value: undefined };
        if (error instanceof Fault) call.cancel();
        throw outgoing.faultOf(error);
      }
    },
    // Not an async generator's return, which would wait for a pending next: cancelling is what ends that wait.
    async return() {
      returned = true;
      outgoing.ended();
      call.cancel();
      await messages.return?.().catch(() => {});
      return { done: true, value: undefined };
    },
  };
}

/** What of grpc-js's two kinds of calls is used here. */
interface Cancellable {
  cancel(): void;
  on(event: "metadata", listener: (metadata: Metadata) => void): unknown;
}

// The longest that a Node timer can wait: 24.8 days.
const timerMsMax = 2 ** 31 - 1;
// The gRPC protocol has eight digits for it.
const timeoutMsMax = 99_999_999;

/** One call on its way: what it carries, what ends it, and whether its server is one of ours. */
class OutgoingCall {
  readonly metadata = new Metadata();
  readonly #options: ResolvedOptions;
  readonly #proof: string | undefined;
  #answered: boolean;
  #expired = false;
  #timer: NodeJS.Timeout | undefined;
  #cancel = () => {};

  constructor(path: string, options: ResolvedOptions) {
    const { proofs, deadlineMs } = options;
    this.#options = options;
    for (const [key, value] of Object.entries(options.metadata ?? {})) this.metadata.set(key, value);
    this.#proof = proofs?.make(path);
    this.#answered = this.#proof === undefined;
    if (this.#proof !== undefined) this.metadata.set(proofMetadata.call, this.#proof);
    // Given as a duration and kept by a timer. What grpc-js calls a deadline is a time of the wall clock, which somebody may set meanwhile.
    if (deadlineMs <= timeoutMsMax) this.metadata.set("grpc-timeout", `${Math.max(1, Math.ceil(deadlineMs))}m`);
  }

  /** Whether the server has shown that it knows the secret, where there is one. */
  get answered(): boolean {
    return this.#answered;
  }

  /** Cancels the call at its deadline, or when its caller leaves. */
  follow(call: Cancellable): void {
    const { signal, deadlineMs, proofs } = this.#options;
    this.#cancel = () => call.cancel();
    signal?.addEventListener("abort", this.#cancel, { once: true });
    if (deadlineMs <= timerMsMax) {
      this.#timer = setTimeout(() => {
        this.#expired = true;
        call.cancel();
      }, deadlineMs);
    }
    const proof = this.#proof;
    if (proof === undefined) return;
    call.on("metadata", (metadata) => {
      if (proofs?.answers(proof, metadata.get(proofMetadata.server)[0])) this.#answered = true;
    });
  }

  /** Nothing is left to cancel. */
  ended(): void {
    clearTimeout(this.#timer);
    this.#options.signal?.removeEventListener("abort", this.#cancel);
  }

  /** Whether the server of a call that failed has shown that it knows the secret, where there is one. */
  #provenBy(metadata: Metadata): boolean {
    const { proofs } = this.#options;
    const answer = metadata.get(proofMetadata.server)[0];
    return this.#answered || (this.#proof !== undefined && proofs?.answers(this.#proof, answer) === true);
  }

  /** Why it failed. A server that is made to stop cancels what it has: then nobody here went away, it is no longer there. */
  faultOf(error: unknown): Fault {
    const { signal } = this.#options;
    if (signal?.aborted) return toFault(signal.reason);
    if (this.#expired) {
      return new Fault("deadline_exceeded", `${faultTable.deadline_exceeded.title}.`, { cause: error });
    }
    const fault = fromStatus(error);
    if (fault.code !== "unauthorized" && isOurs(error) && !this.#provenBy(error.metadata)) return impostor();
    return fault.code === "cancelled"
      ? new Fault("unavailable", "The service ended the call.", { cause: error })
      : fault;
  }
}

/** An answer of somebody who does not know the secret is not looked at. */
function impostor(): Fault {
  return new Fault("unauthorized", `${faultTable.unauthorized.title}.`, {
    internal: "Something that is no service of this cluster answers at the service's address.",
  });
}

function failing(fault: Fault): AsyncIterator<object> {
  return { next: () => Promise.reject(fault) };
}

function requestOf(method: DescMethod, request: object): object {
  return create(method.input, request as MessageInitShape<typeof method.input>);
}
