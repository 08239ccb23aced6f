import { startDecoder } from "@florence/decoder";
import { startEncoder } from "@florence/encoder";
import { startGateway } from "@florence/gateway";
import type { BuiltModel } from "@florence/model";
import { createLogger } from "@florence/node";
import type { Logger } from "@florence/service";
import type { Settings } from "./config.ts";
import { openStores, type Stores } from "./stores.ts";

export const roles = ["all", "gateway", "encoder", "decoder"] as const;
export type Role = (typeof roles)[number];

export interface Stack extends AsyncDisposable {
  /** Where the role listens: http://… for a gateway, host:port for a service. */
  readonly address: string;
}

/** Starts what a role runs; `model` is what every role but the gateway needs. Disposal stops it in reverse order. */
export async function startStack(role: Role, settings: Settings, model: BuiltModel | undefined): Promise<Stack> {
  await using resources = new AsyncDisposableStack();
  const log = createLogger({ name: role === "all" ? "florence" : role, level: settings.gateway.logLevel });
  const address = await start(resources, role, settings, model, log);
  const held = resources.move();
  return { address, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

async function start(
  resources: AsyncDisposableStack,
  role: Role,
  settings: Settings,
  model: BuiltModel | undefined,
  log: Logger,
): Promise<string> {
  if (role === "gateway") return resources.use(await startGateway(settings.gateway, log)).url;
  if (!model) throw new Error("every role but the gateway needs a model");
  if (role === "all") return startAll(resources, settings, model, log);
  const { storeBytesMax: bytesMax, storeTtlMs: ttlMs } = settings[role];
  const stores = resources.use(await openStores(settings.nats, { bytesMax, ttlMs }, model.manifest, log));
  if (role === "encoder")
    return resources.use(await startEncoder(settings.encoder, { model, log, ...shared(stores) })).address;
  return resources.use(await startDecoder(settings.decoder, { model, log, store: stores.store })).address;
}

/** The whole system in this process: the same services over gRPC on loopback, with one store between them. */
async function startAll(
  resources: AsyncDisposableStack,
  settings: Settings,
  model: BuiltModel,
  log: Logger,
): Promise<string> {
  const { storeBytesMax: bytesMax, storeTtlMs: ttlMs } = settings.encoder;
  const stores = resources.use(await openStores(settings.nats, { bytesMax, ttlMs }, model.manifest, log));
  // On ports of their own choice: only the gateway is meant to be found. One after the other, so that each is disposed of if the next fails.
  const loopback = { host: "127.0.0.1", port: 0 };
  const encoder = resources.use(
    await startEncoder({ ...settings.encoder, ...loopback }, { model, log, ...shared(stores) }),
  );
  const decoder = resources.use(
    await startDecoder({ ...settings.decoder, ...loopback }, { model, log, store: stores.store }),
  );
  return resources.use(
    await startGateway({ ...settings.gateway, encoder: encoder.address, decoder: decoder.address }, log),
  ).url;
}

function shared({ store, leases, remoteAliases }: Stores) {
  return { store, ...(leases && { leases }), ...(remoteAliases && { remoteAliases }) };
}
