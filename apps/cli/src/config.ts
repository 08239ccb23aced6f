import { accessSync, constants, mkdirSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type DecoderConfig, decoderConfig } from "@florence/decoder";
import { type EncoderConfig, encoderConfig } from "@florence/encoder";
import { type GatewayConfig, gatewayConfig } from "@florence/gateway";
import { readEnvironment } from "@florence/node";
import { type Config, flag, integer, secret, text } from "@florence/service";

type Env = Readonly<Record<string, string | undefined>>;

const shipped = fileURLToPath(new URL("../../../models/florence-2-drawn", import.meta.url));
const GiB = 1024 ** 3;

/** Every variable that the command line itself reads; the services' own stand in their config.ts. */
export const cliConfig = {
  model: text({ help: "The checkpoint or built folder to serve, or its name on a hub.", default: shipped }),
  cache: text({
    help: "Where raw checkpoints are built into. Unset: florence in the user's cache folder.",
    default: undefined,
  }),
  cacheBytesMax: integer({
    help: "Bytes of builds kept; those not used for longest go first.",
    default: 20 * GiB,
    min: 1,
    max: 1024 ** 5,
  }),
  debug: flag({ help: "Print where an error came from.", default: false }),
};

export type CliConfig = Config<typeof cliConfig>;

/** How encoders and decoders reach NATS; without FLORENCE_NATS each keeps embeddings in its own memory. */
export const natsConfig = {
  servers: text({
    variable: "FLORENCE_NATS",
    help: "nats:// or tls:// address, or several, comma-separated.",
    default: undefined,
  }),
  user: text({ variable: "FLORENCE_NATS_USER", help: "User name.", default: undefined }),
  password: secret({ variable: "FLORENCE_NATS_PASSWORD", help: "Password." }),
  token: secret({ variable: "FLORENCE_NATS_TOKEN", help: "Token, where the server wants one instead." }),
  credsFile: text({ variable: "FLORENCE_NATS_CREDS", help: "File with a user's JWT and seed.", default: undefined }),
  caFile: text({
    variable: "FLORENCE_NATS_CA",
    help: "PEM file of the authorities that the server's certificate is checked against.",
    default: undefined,
  }),
  certFile: text({
    variable: "FLORENCE_NATS_CERT",
    help: "PEM file of this client's certificate.",
    default: undefined,
  }),
  keyFile: text({ variable: "FLORENCE_NATS_KEY", help: "PEM file of its key.", default: undefined }),
  ttlMs: integer({
    variable: "FLORENCE_NATS_TTL_MS",
    help: "How long an embedding is kept, milliseconds.",
    default: 24 * 3_600_000,
    min: 1000,
    max: 365 * 86_400_000,
  }),
  // 1,100 embeddings of base in float32; the oldest go first.
  bytesMax: integer({
    variable: "FLORENCE_NATS_BYTES_MAX",
    help: "Bytes of embeddings that the bucket may hold.",
    default: 2 * GiB,
    min: 1024 * 1024,
    max: 1024 ** 5,
  }),
  replicas: integer({
    variable: "FLORENCE_NATS_REPLICAS",
    help: "Copies in a NATS cluster; a lost embedding is only computed again.",
    default: 1,
    min: 1,
    max: 5,
  }),
  readMsMax: integer({
    variable: "FLORENCE_NATS_READ_MS_MAX",
    help: "How long NATS may take to answer; past it the embedding is computed.",
    default: 100,
    min: 1,
    max: 10_000,
  }),
};

export type NatsConfig = Config<typeof natsConfig>;

/** All settings of a run: the environment read once, for the command line and every service that it may start. */
export interface Settings {
  readonly cli: CliConfig;
  readonly nats: NatsConfig;
  readonly gateway: GatewayConfig;
  readonly encoder: EncoderConfig;
  readonly decoder: DecoderConfig;
}

/** This process's own environment without settings of ours, for processes that get theirs from whoever starts them. */
export const inherited: Record<string, string | undefined> = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith("FLORENCE_") && name !== "PORT"),
);

/** For a person at a terminal, who wants the address and a line to paste, not a log. */
export const quietUnlessAsked: Env = process.env.FLORENCE_LOG_LEVEL ? {} : { FLORENCE_LOG_LEVEL: "warn" };

const specs = [cliConfig, natsConfig, gatewayConfig, encoderConfig, decoderConfig];

/** Reads the environment with what the flags override. Throws a ConfigError that names every unusable variable. */
export function readSettings(overrides: Env = {}, env: Env = process.env): Settings {
  const all = { ...env, ...overrides };
  return {
    cli: readEnvironment(all, cliConfig, specs),
    nats: readEnvironment(all, natsConfig, specs),
    gateway: readEnvironment(all, gatewayConfig, specs),
    encoder: readEnvironment(all, encoderConfig, specs),
    decoder: readEnvironment(all, decoderConfig, specs),
  };
}

/** The folder for builds: the one asked for, the user's own cache, or where that cannot be written, the system's temporary folder. */
export function cacheFolder(asked: string | undefined, env: Env = process.env): string {
  if (asked) return asked;
  const own = join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "florence");
  try {
    mkdirSync(own, { recursive: true });
    accessSync(own, constants.W_OK);
    return own;
  } catch {
    return join(tmpdir(), `florence-cache-${process.getuid?.() ?? "user"}`);
  }
}
