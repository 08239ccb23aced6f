import type { DescService } from "@bufbuild/protobuf";
import { Client as Channel, type ChannelOptions, credentials } from "@grpc/grpc-js";
import { streamingCall, unaryCall } from "./grpc-call.ts";
import { type ByKind, type Methods, messageBytesMaxDefault, type RequestInit, type Response } from "./grpc-method.ts";
import { grpcTarget } from "./grpc-target.ts";

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

/** How a client talks to its service. */
export interface ClientOptions<S extends DescService = DescService> {
  /** Largest message sent or received, in bytes. Default 20 MiB. */
  messageBytesMax?: number;
  /** For calls that name none. Default 60,000: what a person waits for a picture's answers. */
  deadlineMsDefault?: number;
  /** Unary methods that may run twice: they are tried again, up to 3 times, while the service is unavailable. */
  idempotent?: ReadonlyArray<keyof Methods<S>>;
}

/**
 * Connects to a service at `host:port`, or spreads calls over several such addresses. Connects at the first call.
 * A stream's call begins when it is iterated, and is cancelled when the iteration ends early.
 */
export function createClient<S extends DescService>(
  service: S,
  addresses: string | readonly string[],
  options: ClientOptions<S> = {},
): Client<S> {
  const channel = new Channel(
    grpcTarget(typeof addresses === "string" ? [addresses] : addresses),
    credentials.createInsecure(),
    channelOptions(service, options as ClientOptions),
  );
  const deadlineMsDefault = options.deadlineMsDefault ?? 60_000;
  const close = () => channel.close();
  const client: Record<string | symbol, unknown> = { close, [Symbol.dispose]: close };
  for (const method of service.methods) {
    const call = method.methodKind === "unary" ? unaryCall : streamingCall;
    client[method.localName] = (request: object, callOptions: CallOptions = {}) =>
      call(channel, method, request, { ...callOptions, deadlineMs: callOptions.deadlineMs ?? deadlineMsDefault });
  }
  return client as Client<S>;
}

function channelOptions(service: DescService, options: ClientOptions): ChannelOptions {
  const messageBytesMax = options.messageBytesMax ?? messageBytesMaxDefault;
  return {
    "grpc.max_send_message_length": messageBytesMax,
    "grpc.max_receive_message_length": messageBytesMax,
    // Notices a peer that vanished without closing, within 40 s, while calls are open.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    // A message is kept for its retry only while it fits; grpc-js's own limit of 1 MiB would silently end retries for
    // pictures. The total bounds what concurrent calls keep: four of the largest.
    "grpc.per_rpc_retry_buffer_size": messageBytesMax,
    "grpc.retry_buffer_size": 4 * messageBytesMax,
    // A restarted pod is found within half a second, because calls fail while a channel backs off; the default waits two minutes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 500,
    // An embedding (1 to 2.4 MiB) needs few round trips, and an unread stream of events holds at most this much.
    "grpc-node.flow_control_window": 1024 * 1024,
    // Services reach each other directly, whatever proxy the environment names for outside traffic.
    "grpc.enable_http_proxy": 0,
    "grpc.service_config_disable_resolution": 1,
    "grpc.service_config": JSON.stringify(serviceConfig(service, options.idempotent ?? [])),
  };
}

function serviceConfig(service: DescService, idempotent: readonly PropertyKey[]): object {
  const name = idempotent.map((localName) => {
    const method = service.method[localName as string];
    if (method?.methodKind !== "unary")
      throw new Error(`${String(localName)} is no unary method, so it cannot be retried.`);
    return { service: service.typeName, method: method.name };
  });
  const retryPolicy = {
    maxAttempts: 3,
    initialBackoff: "0.05s",
    maxBackoff: "0.5s",
    backoffMultiplier: 3,
    retryableStatusCodes: ["UNAVAILABLE"],
  };
  return {
    loadBalancingConfig: [{ round_robin: {} }],
    methodConfig: name.length > 0 ? [{ name, retryPolicy }] : [],
    // Retries stop while more than a third of calls fail, so a struggling service is not buried under them.
    retryThrottling: { maxTokens: 10, tokenRatio: 0.5 },
  };
}
