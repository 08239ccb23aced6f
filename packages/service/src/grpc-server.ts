import type { DescService } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerOptions, type ServiceDefinition } from "@grpc/grpc-js";
import { type CallContext, type CallReport, serveStreaming, serveUnary } from "./grpc-handler.ts";
import {
  type ByKind,
  type Methods,
  messageBytesMaxDefault,
  methodDefinition,
  type Request,
  type ResponseInit,
} from "./grpc-method.ts";
import { formatAddress } from "./grpc-target.ts";

/** The handlers of a service: one function a method, by local name. What they throw goes through toFault. */
export type Handlers<S extends DescService> = {
  readonly [K in keyof Methods<S>]: ByKind<
    Methods<S>[K],
    (request: Request<Methods<S>[K]>, context: CallContext) => Promise<ResponseInit<Methods<S>[K]>>,
    (request: Request<Methods<S>[K]>, context: CallContext) => AsyncIterable<ResponseInit<Methods<S>[K]>>
  >;
};

/** A service with its handlers, ready for startServer. */
export interface Implementation {
  readonly service: DescService;
  readonly handlers: Readonly<Record<string, unknown>>;
}

/** Pairs a service with handlers of its types. */
export function implement<S extends DescService>(service: S, handlers: Handlers<S>): Implementation {
  return { service, handlers };
}

/** How and where a server listens. */
export interface ServeOptions {
  /** An IP address or host name to bind. */
  host: string;
  /** 0 picks a free port. */
  port: number;
  services: readonly Implementation[];
  /** Largest message sent or received, in bytes. Default 20 MiB. */
  messageBytesMax?: number;
  /** Calls under way per connection. Default 1,000: admission is the services' own, this only bounds memory. */
  callsPerConnectionMax?: number;
  /** How long calls may go on after disposal began, before they are cut. Default 10,000. */
  drainMs?: number;
  /** Closes connections of this age, so that clients look again for new servers; unset for a fixed set of servers. */
  connectionAgeMs?: number;
  /** Told of each call that failed, with the whole error: the place for logs and counters. It must not throw. */
  onFailure?: (report: CallReport) => void;
}

/** A listening server. Disposing it stops accepting, lets calls finish until the drain deadline, then cuts them. */
export interface RunningServer extends AsyncDisposable {
  /** host:port as bound. */
  readonly address: string;
  readonly port: number;
  readonly server: Server;
}

/** Serves generated services over plaintext gRPC. Throws when the address cannot be bound. */
export async function startServer(options: ServeOptions): Promise<RunningServer> {
  const server = new Server(serverOptions(options));
  for (const { service, handlers } of options.services) addService(server, service, handlers, options.onFailure);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(formatAddress(options.host, options.port), ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  let stopping: Promise<void> | undefined;
  return {
    address: formatAddress(options.host, port),
    port,
    server,
    [Symbol.asyncDispose]: () => (stopping ??= stop(server, options.drainMs ?? 10_000)),
  };
}

function serverOptions(options: ServeOptions): ServerOptions {
  const messageBytesMax = options.messageBytesMax ?? messageBytesMaxDefault;
  return {
    "grpc.max_send_message_length": messageBytesMax,
    "grpc.max_receive_message_length": messageBytesMax,
    "grpc.max_concurrent_streams": options.callsPerConnectionMax ?? 1_000,
    // Notices a client machine that vanished within 80 s, so its calls do not hold slots for ever.
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    // A picture of several MiB arrives in few round trips; the default of 64 KiB needs one for each.
    "grpc-node.flow_control_window": 4 * 1024 * 1024,
    ...(options.connectionAgeMs !== undefined && {
      "grpc.max_connection_age_ms": options.connectionAgeMs,
      // Longer than the default deadline of 60 s, so that ageing never cuts a call.
      "grpc.max_connection_age_grace_ms": 90_000,
    }),
  };
}

function addService(
  server: Server,
  service: DescService,
  handlers: Readonly<Record<string, unknown>>,
  onFailure: ServeOptions["onFailure"],
): void {
  const definition: Record<string, ServiceDefinition[string]> = {};
  const implementation: Record<string, ReturnType<typeof serveUnary> | ReturnType<typeof serveStreaming>> = {};
  for (const method of service.methods) {
    const serve = method.methodKind === "unary" ? serveUnary : serveStreaming;
    definition[method.localName] = methodDefinition(method);
    // The types of Handlers hold by construction: implement() checked them against the same descriptor.
    implementation[method.localName] = serve(method, handlers[method.localName] as never, onFailure);
  }
  server.addService(definition, implementation);
}

async function stop(server: Server, drainMs: number): Promise<void> {
  const drained = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  const timer = setTimeout(() => server.forceShutdown(), drainMs);
  await drained;
  clearTimeout(timer);
}
