import type { DescService } from "@bufbuild/protobuf";
import { Health } from "@florence/proto/health";
import { formatAddress, type Handlers, isLoopback, type Tracing, untraced } from "@florence/service";
import { Server, ServerCredentials, type ServerOptions, type ServiceDefinition } from "@grpc/grpc-js";
import { authenticated } from "./authentication.ts";
import { type Credentials, noCredentials, serverCredentials } from "./credentials.ts";
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
  /** Largest message received, in bytes. Default 20 MiB. */
  messageBytesMax?: number;
  /** What clients must show: all of them, but for those who only ask grpc.health.v1. Default: nothing. */
  credentials?: Credentials;
  /** How long calls may go on after disposal began, before they are cut. Default 10,000. */
  drainMs?: number;
  /** Hears how each call ends, with the whole error where it failed. */
  events?: CallEvents;
  /** Joins the calls to those that they were made for. */
  tracing?: Tracing;
}

/** A listening server. Disposing it stops accepting, lets calls finish until the drain deadline, then cuts them. */
export interface RunningServer extends AsyncDisposable {
  /** host:port as bound. */
  readonly address: string;
  readonly port: number;
  readonly server: Server;
}

/** Serves generated services over gRPC. Throws when the address cannot be bound. */
export async function startServer(options: ServeOptions): Promise<RunningServer> {
  const { host, services, credentials = noCredentials, events = unheard, drainMs = 10_000 } = options;
  const server = new Server(serverOptions(options));
  for (const { service, handlers } of services) addService(server, service, handlers, options);
  const port = await bind(server, host, options.port, serverCredentials(credentials));
  const servers = [server];
  if (credentials.healthPort) {
    const probes = new Server(serverOptions(options));
    for (const { service, handlers } of services) {
      if (service.typeName === Health.typeName) addService(probes, service, handlers, options);
    }
    servers.push(probes);
    try {
      await bind(probes, host, credentials.healthPort, ServerCredentials.createInsecure());
    } catch (error) {
      server.forceShutdown();
      throw error;
    }
  }
  const address = formatAddress(host, port);
  if (!isLoopback(host) && !credentials.proofs && !credentials.tls) events.serverExposed({ address });
  let stopping: Promise<unknown> | undefined;
  return {
    address,
    port,
    server,
    [Symbol.asyncDispose]: async () => {
      stopping ??= Promise.all(servers.map((one) => stop(one, drainMs)));
      await stopping;
    },
  };
}

function bind(server: Server, host: string, port: number, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(formatAddress(host, port), credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
}

// Admission is the services' own: this only bounds memory.
const callsPerConnectionMax = 1_000;

function serverOptions(options: ServeOptions): ServerOptions {
  const proofs = options.credentials?.proofs;
  return {
    ...(proofs && { interceptors: [authenticated(proofs, options.events ?? unheard)] }),
    "grpc.max_send_message_length": messageBytesMaxDefault,
    "grpc.max_receive_message_length": options.messageBytesMax ?? messageBytesMaxDefault,
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
  { events = unheard, tracing = untraced }: Pick<ServeOptions, "events" | "tracing">,
): void {
  const definition: Record<string, ServiceDefinition[string]> = {};
  const implementation: Record<string, ReturnType<typeof serveUnary> | ReturnType<typeof serveStreaming>> = {};
  for (const method of service.methods) {
    const serve = method.methodKind === "unary" ? serveUnary : serveStreaming;
    definition[method.localName] = methodDefinition(method);
    // The types of Handlers hold by construction: implement() checked them against the same descriptor.
    implementation[method.localName] = serve(method, handlers[method.localName] as never, { events, tracing });
  }
  server.addService(definition, implementation);
}

async function stop(server: Server, drainMs: number): Promise<void> {
  const drained = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  const timer = setTimeout(() => server.forceShutdown(), drainMs);
  await drained;
  clearTimeout(timer);
}
