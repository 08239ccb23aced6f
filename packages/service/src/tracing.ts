import type { Fault } from "./fault.ts";

/** A call that has come in. */
export interface IncomingCall {
  readonly protocol: "http" | "grpc";
  /** An HTTP method, such as POST, or a gRPC method's full name, such as florence.v1.Encoder.Encode. */
  readonly name: string;
  /** One of the fields that its caller sent along, by its name in lower case. */
  readonly header: (name: string) => string | undefined;
}

/** A call to another service. */
export interface OutgoingCall {
  /** The method's full name, such as florence.v1.Encoder.Encode. */
  readonly name: string;
  /** host:port */
  readonly address: string;
}

/** A call that is being served. */
export interface ServedCall {
  /** Fields for the head of its answer. */
  readonly headers: Readonly<Record<string, string>>;
  /** Runs its work: what that does, awaits and says in events belongs to the call. */
  run<R>(work: () => R): R;
  /** Its answer is complete, or nobody waits for it any more. */
  end(): void;
}

/** A call that was made and is not answered yet. */
export interface MadeCall {
  /** What goes along with it. */
  readonly metadata: Readonly<Record<string, string>>;
  /** It was answered, or has failed. */
  end(fault?: Fault): void;
}

/**
 * Joins what several processes do for one request. Events belong to the call in whose work they are said, so that no function has to hand
 * a call on. Whoever starts a service may bring a Tracing; without one nothing is joined, and nothing is spent.
 */
export interface Tracing {
  serve(call: IncomingCall): ServedCall;
  /** Begins a call to another service, for the call that is being served. */
  call(call: OutgoingCall): MadeCall;
  /** What a message carries that others read later, such as a value in a store. */
  metadata(): Readonly<Record<string, string>>;
  /** For work that is done later: what it is given runs as part of the call that is being served now. */
  bind(): <R>(work: () => R) => R;
}

const served: ServedCall = { headers: {}, run: (work) => work(), end: () => {} };
const made: MadeCall = { metadata: {}, end: () => {} };

/** Joins nothing. */
export const untraced: Tracing = {
  serve: () => served,
  call: () => made,
  metadata: () => made.metadata,
  bind: () => served.run,
};
