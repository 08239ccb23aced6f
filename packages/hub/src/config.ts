import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { ConfigError, Secret } from "@florence/service";

type Env = Readonly<Record<string, string | undefined>>;

/** Where checkpoints come from and where they are kept: what huggingface_hub reads too, so that both find the same files. */
export interface HubSettings {
  /** https://host, without a slash behind it. */
  readonly endpoint: string;
  /** The folder that holds models--owner--name. */
  readonly cache: string;
  readonly token: Secret | undefined;
  /** Whether the network is not to be used at all. */
  readonly offline: boolean;
  /** How long the hub may say nothing before the connection is given up. */
  readonly stallMs: number;
  /** The environment, for the names of its proxies. */
  readonly proxyEnv: Env;
}

const defaultEndpoint = "https://huggingface.co";
// A storage server that fetches a large file from a colder place may think for some seconds before the first byte.
const defaultStallMs = 30_000;

/** Reads the variables that huggingface_hub knows, with its rules. Throws a ConfigError for an endpoint that is no URL. */
export function readHubSettings(env: Env = process.env): HubSettings {
  const home = expand(env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface"), env);
  const seconds = Number(env.HF_HUB_DOWNLOAD_TIMEOUT);
  return {
    endpoint: readEndpoint(env.HF_ENDPOINT || defaultEndpoint),
    cache: expand(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, "hub"), env),
    token: readToken(env, expand(env.HF_TOKEN_PATH || join(home, "token"), env)),
    offline: isTrue(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE),
    stallMs: seconds > 0 ? seconds * 1000 : defaultStallMs,
    proxyEnv: env,
  };
}

function readEndpoint(text: string): string {
  if (!/^https?:$/.test(URL.parse(text)?.protocol ?? ""))
    throw new ConfigError([`HF_ENDPOINT=${JSON.stringify(text)} is no http or https URL`]);
  return text.replace(/\/+$/, "");
}

/** The token that is set, else the one that a login left in its file. */
function readToken(env: Env, file: string): Secret | undefined {
  if (isTrue(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined;
  const token = (env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || readIfThere(file)).trim();
  return token ? new Secret(token) : undefined;
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // Nobody logged in here.
  }
}

const isTrue = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value ?? "");

/** A path with ~ and $NAME put in, as Python's library does. */
function expand(path: string, env: Env): string {
  const named = path.replace(/\$(?:(\w+)|\{(\w+)\})/g, (whole, a, b) => env[a ?? b] ?? whole);
  return named.replace(/^~(?=$|[\\/])/, homedir());
}
