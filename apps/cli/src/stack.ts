import { startDecoder } from "@florence/decoder";
import { MemoryStore } from "@florence/embeddings";
import { startEncoder } from "@florence/encoder";
import { startGateway } from "@florence/gateway";
import type { BuiltModel } from "@florence/model";
import { createLogger } from "@florence/service";
import type { Settings } from "./config.ts";

export const roles = ["all", "gateway", "encoder", "decoder"] as const;
export type Role = (typeof roles)[number];

export interface Stack extends AsyncDisposable {
  /** Where the role listens: http://… for a gateway, host:port for a service. */
  readonly address: string;
}

/** Starts what a role runs; `model` is what every role but the gateway needs. Disposal stops it in reverse order. */
export async function startStack(role: Role, settings: Settings, model: BuiltModel | undefined): Promise<Stack> {
  await using resources = new AsyncDisposableStack();
  const address =
    role === "all"
      ? await startAll(resources, settings, needed(model))
      : await startOne(resources, role, settings, model);
  const held = resources.move();
  return { address, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

async function startOne(
  resources: AsyncDisposableStack,
  role: Exclude<Role, "all">,
  settings: Settings,
  model: BuiltModel | undefined,
): Promise<string> {
  if (role === "gateway") return resources.use(await startGateway(settings.gateway)).url;
  const options = { model: needed(model) };
  if (role === "encoder") return resources.use(await startEncoder(settings.encoder, options)).address;
  return resources.use(await startDecoder(settings.decoder, options)).address;
}

/** The whole system in this process: the same services over gRPC on loopback, with one store in place of NATS. */
async function startAll(resources: AsyncDisposableStack, settings: Settings, model: BuiltModel): Promise<string> {
  const { encoder: encoderConfig, decoder: decoderConfig, gateway: gatewayConfig } = settings;
  const log = createLogger({ name: "florence", level: gatewayConfig.logLevel });
  const store = resources.use(
    new MemoryStore({ bytesMax: encoderConfig.storeBytesMax, ttlMs: encoderConfig.storeTtlMs }),
  );
  const [encoder, decoder] = await Promise.all([
    startEncoder({ ...encoderConfig, host: "127.0.0.1" }, { model, store, log }).then((e) => resources.use(e)),
    startDecoder({ ...decoderConfig, host: "127.0.0.1" }, { model, store, log }).then((d) => resources.use(d)),
  ]);
  return resources.use(
    await startGateway({ ...gatewayConfig, encoder: encoder.address, decoder: decoder.address }, log),
  ).url;
}

function needed(model: BuiltModel | undefined): BuiltModel {
  if (!model) throw new Error("this role needs a model");
  return model;
}
