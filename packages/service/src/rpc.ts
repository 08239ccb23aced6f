// What a service's methods look like to whoever calls and serves them, whatever carries the calls.

import type {
  DescMessage,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";

/** The methods of a service, by their local names. */
export type Methods<S extends DescService> = S["method"];

/** What a caller may pass as a method's request: the message itself or a plain object of its fields. */
export type RequestInit<M> =
  M extends DescMethodUnary<infer I, DescMessage>
    ? MessageInitShape<I>
    : M extends DescMethodServerStreaming<infer I, DescMessage>
      ? MessageInitShape<I>
      : never;

/** A method's request as its handler gets it. */
export type Request<M> =
  M extends DescMethodUnary<infer I, DescMessage>
    ? MessageShape<I>
    : M extends DescMethodServerStreaming<infer I, DescMessage>
      ? MessageShape<I>
      : never;

/** What a handler may answer with: the message itself or a plain object of its fields. */
export type ResponseInit<M> =
  M extends DescMethodUnary<DescMessage, infer O>
    ? MessageInitShape<O>
    : M extends DescMethodServerStreaming<DescMessage, infer O>
      ? MessageInitShape<O>
      : never;

/** A method's response as its caller gets it. */
export type Response<M> =
  M extends DescMethodUnary<DescMessage, infer O>
    ? MessageShape<O>
    : M extends DescMethodServerStreaming<DescMessage, infer O>
      ? MessageShape<O>
      : never;

/** Picks one of two types by the kind of a method; client streaming is not supported. */
export type ByKind<M, Unary, Streaming> = M extends { methodKind: "unary" }
  ? Unary
  : M extends { methodKind: "server_streaming" }
    ? Streaming
    : never;

/** What one call may carry. */
export interface CallOptions {
  /** Aborting it cancels the call, here and on the server. */
  signal?: AbortSignal | undefined;
  /** Milliseconds from now until the call fails with `deadline_exceeded`; Infinity for none. Default: the client's. */
  deadlineMs?: number | undefined;
  /** Text metadata for the server; keys in lower case. */
  metadata?: Readonly<Record<string, string>> | undefined;
}

/** A typed client of a service. Every failure is thrown as a Fault. */
export type Client<S extends DescService> = {
  readonly [K in keyof Methods<S>]: ByKind<
    Methods<S>[K],
    (request: RequestInit<Methods<S>[K]>, options?: CallOptions) => Promise<Response<Methods<S>[K]>>,
    (request: RequestInit<Methods<S>[K]>, options?: CallOptions) => AsyncIterable<Response<Methods<S>[K]>>
  >;
} & {
  /** Closes the channel. Calls under way fail. */
  close(): void;
  [Symbol.dispose](): void;
};

/** What a handler knows of its call besides the request. */
export interface CallContext {
  /** Aborts when the client goes away or the deadline passes; its reason is a Fault. */
  readonly signal: AbortSignal;
  /** By when the client wants its answer, in milliseconds of performance.now(): a clock that nobody sets. */
  readonly deadline: number | undefined;
  /** The client's address. */
  readonly peer: string;
  /** The text metadata of the call, keys in lower case. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** The handlers of a service: one function a method, by local name. What they throw goes through toFault. */
export type Handlers<S extends DescService> = {
  readonly [K in keyof Methods<S>]: ByKind<
    Methods<S>[K],
    (request: Request<Methods<S>[K]>, context: CallContext) => Promise<ResponseInit<Methods<S>[K]>>,
    (request: Request<Methods<S>[K]>, context: CallContext) => AsyncIterable<ResponseInit<Methods<S>[K]>>
  >;
};
