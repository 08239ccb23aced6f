import { accessSync, constants, mkdirSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type DecoderConfig, decoderConfig, readDecoderConfig } from "@florence/decoder";
import { type EncoderConfig, encoderConfig, readEncoderConfig } from "@florence/encoder";
import { type GatewayConfig, gatewayConfig, readGatewayConfig } from "@florence/gateway";
import { type Config, flag, integer, readConfig, text } from "@florence/service";

type Env = Readonly<Record<string, string | undefined>>;

const shipped = fileURLToPath(new URL("../../../models/florence-2-drawn", import.meta.url));
const GiB = 1024 ** 3;

/** Every variable that the command line itself reads; the services' own stand in their config.ts. */
export const cliConfig = {
  model: text({ help: "The checkpoint or built folder to serve.", default: shipped }),
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

/** All settings of a run: the environment read once, for the command line and every service that it may start. */
export interface Settings {
  readonly cli: CliConfig;
  readonly gateway: GatewayConfig;
  readonly encoder: EncoderConfig;
  readonly decoder: DecoderConfig;
}

const specs = [cliConfig, gatewayConfig, encoderConfig, decoderConfig];

/** Reads the environment with what the flags override. Throws a ConfigError that names every unusable variable. */
export function readSettings(overrides: Env = {}, env: Env = process.env): Settings {
  const all = { ...env, ...overrides };
  return {
    cli: readConfig(all, cliConfig, { alsoKnown: specs }),
    gateway: readGatewayConfig(all, specs),
    encoder: readEncoderConfig(all, specs),
    decoder: readDecoderConfig(all, specs),
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
