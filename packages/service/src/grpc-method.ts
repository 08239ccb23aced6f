import type {
  DescMessage,
  DescMethod,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MethodDefinition } from "@grpc/grpc-js";

/** The largest message either side sends or accepts, in bytes: a picture of 16 MiB with room for its envelope. */
export const messageBytesMaxDefault = 20 * 1024 * 1024;

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

/**
 * The grpc-js definition of a generated method. Decoded `bytes` fields are views into the received message, at any
 * offset, and keep all of it alive: copy before storing one or reading it as anything but bytes.
 */
export function methodDefinition(method: DescMethod): MethodDefinition<object, object> {
  if (method.methodKind !== "unary" && method.methodKind !== "server_streaming") {
    throw new Error(`${method.parent.typeName}.${method.name} streams from the client, which this bridge does not do.`);
  }
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: false,
    responseStream: method.methodKind === "server_streaming",
    requestSerialize: serializer(method.input),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: serializer(method.output),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
    originalName: method.localName,
  };
}

function serializer(schema: DescMessage): (message: object) => Buffer {
  return (message) => {
    const bytes = toBinary(schema, message as MessageShape<DescMessage>);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}
