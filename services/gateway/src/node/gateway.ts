import { createServer, type Server } from "node:http";
import { type AddressInfo, isIP } from "node:net";
import { createClient, messageBytesMaxDefault, openCredentials } from "@florence/grpc";
import { type ClusterConfig, noCluster } from "@florence/grpc/settings";
import { createLogger } from "@florence/node";
import { Decoder } from "@florence/proto/decoder";
import { Encoder } from "@florence/proto/encoder";
import {
  createEvents,
  Fault,
  formatAddress,
  type Listener,
  type Logger,
  type Tracing,
  untraced,
} from "@florence/service";
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import { createGateway } from "../app.ts";
import type { GatewayConfig } from "../config.ts";
import { gatewayEvents } from "../events.ts";
import { faultResponse } from "../http/problem.ts";
import { logEvents } from "../log-events.ts";
import { balancedClients } from "../peers/clients.ts";
import type { Resolve } from "../peers/names.ts";
import { Peers } from "../peers/peers.ts";
import { createCallerOf } from "./caller-address.ts";
import { boundConnections } from "./connections.ts";
import { resolveHost } from "./resolve.ts";
import { tracedListener } from "./traced-listener.ts";
import { createUrlFetch } from "./url-fetch.ts";

export { type GatewayConfig, gatewayConfig } from "../config.ts";
export { gatewayEvents } from "../events.ts";

/** A listening gateway. Disposing it stops accepting, lets calls finish until the drain deadline, then cuts them. */
export interface RunningGateway extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
}

const MiB = 1024 * 1024;
// Clients hold connections open between calls, and a load balancer holds many for all of its own.
const connectionsMin = 4096;
// A slow network's longest pause.
const unreadMs = 10_000;

export interface GatewayOptions {
  /** Resolves the services' names. Default: as the system does. */
  readonly resolve?: Resolve;
  /** How it and the services know each other. Default: not at all. */
  readonly cluster?: ClusterConfig;
  /** Hear what happens, as the log does. */
  readonly listeners?: readonly Listener<typeof gatewayEvents>[];
  /** Joins its calls to those of its callers. */
  readonly tracing?: Tracing;
}

/** Starts the gateway on Node, with grpc-js towards the services. They need not be up yet. Throws when the port is taken. */
export async function startGateway(
  config: GatewayConfig,
  log: Logger = createLogger({ name: "gateway", level: config.logLevel }),
  { resolve = resolveHost, cluster = noCluster, listeners = [], tracing = untraced }: GatewayOptions = {},
): Promise<RunningGateway> {
  const stopping = new AbortController();
  const events = createEvents(gatewayEvents, [logEvents(log), ...listeners]);
  const clientOptions = {
    credentials: openCredentials(cluster),
    deadlineMsDefault: config.deadlineMs,
    tracing,
    // The request's envelope is far below a MiB.
    messageBytesMax: Math.max(messageBytesMaxDefault, config.uploadBytesMax + MiB),
  };
  const shared = { events, resolve, resolveMs: config.resolveMs };
  await using resources = new AsyncDisposableStack();
  const encoders = resources.use(
    new Peers({
      ...shared,
      service: "encoder",
      list: config.encoder,
      connect: (address) => createClient(Encoder, address, clientOptions),
    }),
  );
  const decoders = resources.use(
    new Peers({
      ...shared,
      service: "decoder",
      list: config.decoder,
      connect: (address) => createClient(Decoder, address, clientOptions),
    }),
  );
  const app = createGateway({
    ...balancedClients(encoders, decoders, events),
    events,
    limits: config,
    idSecret: config.idSecret && new TextEncoder().encode(config.idSecret.reveal()),
    fetchUrl: createUrlFetch({ redirectsMax: config.urlRedirectsMax, timeoutMs: config.urlFetchMs }),
    stopping: stopping.signal,
    hosts: hostsOf(config),
  });
  const callerOf = createCallerOf(config.trustedProxies);
  const answer: FetchCallback = (request, env) => {
    const { socket } = (env as HttpBindings).incoming;
    return app.fetch(request, callerOf(socket.remoteAddress, request.headers.get("x-forwarded-for") ?? undefined));
  };
  const server = createServer(
    {
      // A body may take as long as its call; the headers are small.
      requestTimeout: config.deadlineMs,
      headersTimeout: Math.min(config.deadlineMs, 10_000),
      // How late those two may be noticed: Node looks at all connections at once, which at a few thousand costs little.
      connectionsCheckingInterval: Math.min(config.deadlineMs, 5_000),
      // Longer than the 60 s after which common proxies drop an idle connection, so that they do so first.
      keepAliveTimeout: 65_000,
    },
    tracedListener(
      tracing,
      getRequestListener(answer, {
        // Other services may share this process; the global Request and Response stay what they are.
        overrideGlobalObjects: false,
        // What is thrown outside the application: a request without a usable host or target.
        errorHandler: (cause) =>
          faultResponse(
            new Fault("body_invalid", "The request line or its host is malformed.", { cause }),
            crypto.randomUUID(),
          ),
      }),
    ),
  );
  // Who takes nothing of an answer is cut off once a call cannot be the reason of the silence any more.
  server.timeout = config.deadlineMs + unreadMs;
  // Idle connections cost some kilobytes each, so there may be many; past this one is refused, not kept.
  const connectionsMax = Math.max(connectionsMin, 4 * (config.requestsMax + config.queueMax));
  boundConnections(server, connectionsMax, Math.ceil((connectionsMax * config.callerSharePercent) / 100));
  const port = await listen(server, config.port, config.host);
  const url = `http://${formatAddress(reachableHost(config.host), port)}`;
  log.info({ url, encoder: config.encoder, decoder: config.decoder }, "gateway listening");
  resources.defer(() => stop(server, config.drainMs));
  resources.defer(() => stopping.abort());
  const running = resources.move();
  return { url, port, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

type FetchCallback = Parameters<typeof getRequestListener>[0];

/** The names that calls may be addressed to: what is configured, and on loopback what this machine is called there. */
function hostsOf({ allowedHosts, host }: GatewayConfig): string[] | undefined {
  const configured = allowedHosts?.split(",").map((name) => name.trim());
  const loopback = host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
  if (!loopback) return configured;
  return ["localhost", "127.0.0.1", "[::1]", host.includes(":") ? `[${host}]` : host, ...(configured ?? [])];
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
  });
}

/** What one would type to reach the address from this machine. */
function reachableHost(host: string): string {
  return ["0.0.0.0", "::", "127.0.0.1", "::1"].includes(host) ? "localhost" : host;
}

async function stop(server: Server, drainMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const cut = setTimeout(() => server.closeAllConnections(), drainMs);
  // close() ends the connections that are idle now; those whose answer is still being sent become idle later.
  const sweep = setInterval(() => server.closeIdleConnections(), 100);
  await closed;
  clearTimeout(cut);
  clearInterval(sweep);
}
