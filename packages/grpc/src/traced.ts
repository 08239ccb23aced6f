import type { DescMethod } from "@bufbuild/protobuf";
import { type Tracing, toFault } from "@florence/service";
import type { Client as Channel } from "@grpc/grpc-js";
import type { streamingCall, unaryCall } from "./call.ts";

type Unary = typeof unaryCall;
type Streaming = typeof streamingCall;
type Options = Parameters<Unary>[3];

/** A method's full name, as events and traces say it. */
export function fullName(method: DescMethod): string {
  return `${method.parent.typeName}.${method.name}`;
}

/** Has a tracing told of the calls to an address, and what it says sent along with them. */
export function traced(tracing: Tracing, address: string) {
  const begin = (method: DescMethod, options: Options) => {
    const made = tracing.call({ name: fullName(method), address });
    return { made, options: { ...options, metadata: { ...options.metadata, ...made.metadata } } };
  };
  return {
    unary:
      (call: Unary): Unary =>
      async (channel: Channel, method, request, options) => {
        const { made, options: carrying } = begin(method, options);
        try {
          const response = await call(channel, method, request, carrying);
          made.end();
          return response;
        } catch (error) {
          made.end(toFault(error));
          throw error;
        }
      },
    streaming:
      (call: Streaming): Streaming =>
      (channel: Channel, method, request, options) => ({
        [Symbol.asyncIterator]() {
          const { made, options: carrying } = begin(method, options);
          const responses = call(channel, method, request, carrying)[Symbol.asyncIterator]();
          return {
            async next() {
              try {
                const result = await responses.next();
                if (result.done) made.end();
                return result;
              } catch (error) {
                made.end(toFault(error));
                throw error;
              }
            },
            async return() {
              made.end();
              return (await responses.return?.()) ?? { done: true, value: undefined };
            },
          };
        },
      }),
  };
}
