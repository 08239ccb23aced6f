import type { DescService } from "@bufbuild/protobuf";
import { formatAddress, type Handlers } from "@florence/service";
import { Server, ServerCredentials, type ServerOptions, type ServiceDefinition } from "@grpc/grpc-js";
import { type CallEvents, unheard } from "./events.ts";
import { serveStreaming, serveUnary } from "./handler.ts";
import { messageBytesMaxDefault, methodDefinition } from "./method.ts";

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
  /** How long calls may go on after disposal began, before they are cut. Default 10,000. */
  drainMs?: number;
  /** Hears how each call ends, with the whole error where it failed. */
  events?: CallEvents;
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
  for (const { service, handlers } of options.services)
    addService(server, service, handlers, options.events ?? unheard);
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

// Admission is the services' own: this only bounds memory.
const callsPerConnectionMax = 1_000;

function serverOptions(options: ServeOptions): ServerOptions {
  const messageBytesMax = options.messageBytesMax ?? messageBytesMaxDefault;
  return {
    "grpc.max_send_message_length": messageBytesMax,
    "grpc.max_receive_message_length": messageBytesMax,
    "grpc.max_concurrent_streams": callsPerConnectionMax,
    // Notices a client machine that vanished within 80 s, so its calls do not hold slots for ever.
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    // An image of several MiB arrives in few round trips; the default of 64 KiB needs one for each.
    "grpc-node.flow_control_window": 4 * 1024 * 1024,
  };
}

function addService(
  server: Server,
  service: DescService,
  handlers: Readonly<Record<string, unknown>>,
  events: CallEvents,
): void {
  const definition: Record<string, ServiceDefinition[string]> = {};
  const implementation: Record<string, ReturnType<typeof serveUnary> | ReturnType<typeof serveStreaming>> = {};
  for (const method of service.methods) {
    const serve = method.methodKind === "unary" ? serveUnary : serveStreaming;
    definition[method.localName] = methodDefinition(method);
    // The types of Handlers hold by construction: implement() checked them against the same descriptor.
    implementation[method.localName] = serve(method, handlers[method.localName] as never, events);
  }
  server.addService(definition, implementation);
}

async function stop(server: Server, drainMs: number): Promise<void> {
  const drained = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  const timer = setTimeout(() => server.forceShutdown(), drainMs);
  await drained;
  clearTimeout(timer);
}
