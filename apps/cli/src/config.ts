import { decoderConfig } from "@florence/decoder/config";
import { natsConfig } from "@florence/embeddings/settings";
import { encoderConfig } from "@florence/encoder/config";
import { gatewayConfig } from "@florence/gateway/config";
import { clusterConfig } from "@florence/grpc/settings";
import { modelConfig } from "@florence/model/settings";
import { readEnvironments } from "@florence/node";
import { flag } from "@florence/service";
import { telemetryConfig } from "@florence/telemetry/config";

type Env = Readonly<Record<string, string | undefined>>;

/** What the command line itself reads. */
const cliConfig = { debug: flag({ help: "Print where an error came from.", default: false }) };

const specs = {
  cli: cliConfig,
  model: modelConfig,
  nats: natsConfig,
  cluster: clusterConfig,
  gateway: gatewayConfig,
  encoder: encoderConfig,
  decoder: decoderConfig,
  telemetry: telemetryConfig,
};

/** All settings of a run: the environment read once, for the command line and every service that it may start. */
export type Settings = ReturnType<typeof readSettings>;

/** Reads the environment with what the flags override. Throws a ConfigError that names every unusable variable. */
export function readSettings(overrides: Env = {}, env: Env = process.env) {
  return readEnvironments({ ...env, ...overrides }, specs);
}

/** This process's own environment without settings of ours, for processes that get theirs from whoever starts them. */
export const inherited: Record<string, string | undefined> = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith("FLORENCE_") && name !== "PORT"),
);

/** For a person at a terminal, who wants the address and a line to paste, not a log. */
export const quietUnlessAsked: Env = process.env.FLORENCE_LOG_LEVEL ? {} : { FLORENCE_LOG_LEVEL: "warn" };
