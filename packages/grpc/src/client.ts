import type { DescService } from "@bufbuild/protobuf";
import { type CallOptions, type Client, type Tracing, untraced } from "@florence/service";
import { Client as Channel, type ChannelOptions } from "@grpc/grpc-js";
import { streamingCall, unaryCall } from "./call.ts";
import { type Credentials, channelCredentials, noCredentials } from "./credentials.ts";
import { messageBytesMaxDefault } from "./method.ts";
import { grpcTarget } from "./target.ts";
import { traced } from "./traced.ts";

/** How a client talks to its service. */
export interface ClientOptions {
  /** Largest message sent or received, in bytes. Default 20 MiB. */
  messageBytesMax?: number;
  /** For calls that name none. Default 60,000: what a person waits for an image's answers. */
  deadlineMsDefault?: number;
  /** Joins the calls to those that they are made for. */
  tracing?: Tracing;
  /** What it shows to the service and asks of it. Default: nothing. */
  credentials?: Credentials;
}

/**
 * Connects to a service at `host:port`, or spreads calls over several such addresses. Connects at the first call.
 * A stream's call begins when it is iterated, and is cancelled when the iteration ends early.
 */
export function createClient<S extends DescService>(
  service: S,
  addresses: string | readonly string[],
  options: ClientOptions = {},
): Client<S> {
  const { credentials = noCredentials } = options;
  const channel = new Channel(
    grpcTarget(typeof addresses === "string" ? [addresses] : addresses),
    channelCredentials(credentials),
    channelOptions(options),
  );
  const deadlineMsDefault = options.deadlineMsDefault ?? 60_000;
  const close = () => channel.close();
  const client: Record<string | symbol, unknown> = { close, [Symbol.dispose]: close };
  const trace = traced(options.tracing ?? untraced, String(addresses));
  for (const method of service.methods) {
    const call = method.methodKind === "unary" ? trace.unary(unaryCall) : trace.streaming(streamingCall);
    client[method.localName] = (request: object, callOptions: CallOptions = {}) =>
      call(channel, method, request, {
        ...callOptions,
        deadlineMs: callOptions.deadlineMs ?? deadlineMsDefault,
        proofs: credentials.proofs,
      });
  }
  return client as Client<S>;
}

function channelOptions(options: ClientOptions): ChannelOptions {
  const messageBytesMax = options.messageBytesMax ?? messageBytesMaxDefault;
  return {
    "grpc.max_send_message_length": messageBytesMax,
    "grpc.max_receive_message_length": messageBytesMax,
    // Notices a peer that vanished without closing, within 40 s, while calls are open.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    // A restarted pod is found within half a second, because calls fail while a channel backs off; the default waits two minutes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 500,
    // An embedding (1 to 2.4 MiB) needs few round trips, and an unread stream of events holds at most this much.
    "grpc-node.flow_control_window": 1024 * 1024,
    // Services reach each other directly, whatever proxy the environment names for outside traffic.
    "grpc.enable_http_proxy": 0,
    "grpc.service_config_disable_resolution": 1,
    ...(options.credentials?.serverName && { "grpc.ssl_target_name_override": options.credentials.serverName }),
    "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
  };
}
