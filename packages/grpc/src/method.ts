import { type DescMessage, type DescMethod, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { MethodDefinition } from "@grpc/grpc-js";

/** The largest message either side sends or accepts, in bytes: an image of 16 MiB with room for its envelope. */
export const messageBytesMaxDefault = 20 * 1024 * 1024;

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
