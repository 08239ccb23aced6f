import { randomBytes } from "node:crypto";
import type { Stores } from "@florence/embeddings/nats";
import { noCluster } from "@florence/grpc/settings";
import type { BuiltModel } from "@florence/model";
import { createLogger } from "@florence/node";
import { type Logger, Secret } from "@florence/service";
import { logFields, startTelemetry, type Telemetry } from "@florence/telemetry";
import type { Settings } from "./config.ts";

export const roles = ["all", "gateway", "encoder", "decoder"] as const;
export type Role = (typeof roles)[number];

export interface Stack extends AsyncDisposable {
  /** Where the role listens: http://… for a gateway, host:port for a service. */
  readonly address: string;
}

/** Where a process says what happens. */
interface Told {
  readonly log: Logger;
  readonly telemetry: Telemetry;
}

/**
 * Starts what a role runs; `model` is what every role but the gateway needs. Disposal stops it in reverse order. Services are loaded
 * when their role runs: a gateway has no native module in its process.
 */
export async function startStack(role: Role, settings: Settings, model: BuiltModel | undefined): Promise<Stack> {
  await using resources = new AsyncDisposableStack();
  const log = createLogger({
    name: role === "all" ? "florence" : role,
    level: settings.gateway.logLevel,
    fields: logFields,
  });
  const service = role === "all" ? "florence" : `florence-${role}`;
  const telemetry = resources.use(await startTelemetry(settings.telemetry, { service, log }));
  const address = await start(resources, role, settings, model, { log, telemetry });
  const running = resources.move();
  return { address, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

async function start(
  resources: AsyncDisposableStack,
  role: Role,
  settings: Settings,
  model: BuiltModel | undefined,
  told: Told,
): Promise<string> {
  const { cluster } = settings;
  const { log, telemetry } = told;
  const { tracing, listeners } = telemetry;
  if (role === "gateway") {
    const { startGateway } = await import("@florence/gateway");
    return resources.use(await startGateway(settings.gateway, log, { cluster, tracing, listeners: listeners.gateway }))
      .url;
  }
  if (!model) throw new Error("every role but the gateway needs a model");
  if (role === "all") return startAll(resources, settings, model, told);
  const shared = { model, cluster, log, tracing };
  const stores = resources.use(await openStoresOf(role, settings, model, told));
  if (role === "encoder") {
    const { startEncoder } = await import("@florence/encoder");
    return resources.use(await startEncoder(settings.encoder, { ...shared, listeners: listeners.encoder, ...stores }))
      .address;
  }
  const { startDecoder } = await import("@florence/decoder");
  return resources.use(await startDecoder(settings.decoder, { ...shared, listeners: listeners.decoder, ...stores }))
    .address;
}

/** The whole system in this process: the same services over gRPC on loopback, with one store between them. */
async function startAll(
  resources: AsyncDisposableStack,
  settings: Settings,
  model: BuiltModel,
  told: Told,
): Promise<string> {
  const { log, telemetry } = told;
  const { tracing, listeners } = telemetry;
  const [{ startEncoder }, { startDecoder }, { startGateway }] = await Promise.all([
    import("@florence/encoder"),
    import("@florence/decoder"),
    import("@florence/gateway"),
  ]);
  const stores = resources.use(await openStoresOf("encoder", settings, model, told));
  // On ports of their own choice: only the gateway is meant to be found. One after the other, so that each is disposed of if the next fails.
  const loopback = { host: "127.0.0.1", port: 0 };
  // Other programs of this machine reach the ports too, and are not to use them.
  const cluster = { ...noCluster, secret: new Secret(randomBytes(32).toString("base64url")) };
  const shared = { model, cluster, log, tracing, ...stores };
  const encoder = resources.use(
    await startEncoder({ ...settings.encoder, ...loopback }, { ...shared, listeners: listeners.encoder }),
  );
  const decoder = resources.use(
    await startDecoder({ ...settings.decoder, ...loopback }, { ...shared, listeners: listeners.decoder }),
  );
  const found = { encoder: encoder.address, decoder: decoder.address };
  return resources.use(
    await startGateway({ ...settings.gateway, ...found }, log, { cluster, tracing, listeners: listeners.gateway }),
  ).url;
}

async function openStoresOf(
  role: "encoder" | "decoder",
  settings: Settings,
  { manifest }: BuiltModel,
  { log, telemetry }: Told,
): Promise<Stores> {
  const [{ openServiceStores }, { encodingOf }] = await Promise.all([
    import("@florence/embeddings/nats"),
    import("@florence/model"),
  ]);
  const bounds = { ...settings[role], embeddingBytes: encodingOf(manifest).bytes };
  const { tracing, listeners } = telemetry;
  const user = { role, secret: settings.cluster.secret, log, listeners: listeners.embeddings, tracing };
  return openServiceStores(settings.nats, bounds, user);
}
