import { clusterConfig } from "@florence/grpc/settings";
import { type Config, integer, logLevels, oneOf, secret, text } from "@florence/service";
import { defaultLimits, type Limits } from "./limits.ts";
import { resolveMsDefault } from "./peers/peers.ts";

// A terabyte: no setting in bytes is meant to be more.
const bytesMax = 1024 ** 4;
const hourMs = 3_600_000;

/** The gateway's own variables. */
export const gatewayConfig = {
  port: integer({
    variable: "PORT",
    help: "Port of the HTTP server; 0 picks a free one.",
    default: 8080,
    min: 0,
    max: 65535,
  }),
  host: text({ help: "Address to listen on; a container needs 0.0.0.0.", default: "127.0.0.1" }),
  encoder: text({
    help: "host:port of the encoders: one, several with commas between, or a name that stands for all of its addresses.",
    default: "127.0.0.1:50051",
  }),
  decoder: text({
    help: "host:port of the decoders: one, several with commas between, or a name that stands for all of its addresses.",
    default: "127.0.0.1:50052",
  }),
  resolveMs: integer({
    help: "How often the names of encoders and decoders are resolved anew, milliseconds.",
    default: resolveMsDefault,
    min: 100,
    max: hourMs,
  }),
  idSecret: secret({
    help: "16 bytes or more that seal image ids; the same in all gateways. Unset: random, so ids end with the process.",
  }),
  logLevel: oneOf(logLevels, { help: "Least severe lines that are logged.", default: "info" }),
  drainMs: integer({
    help: "How long calls may go on after a stop began, milliseconds.",
    default: 30_000,
    min: 0,
    max: hourMs,
  }),
  uploadBytesMax: limit("uploadBytesMax", "Largest image file, bytes.", 1, bytesMax),
  bodyOverheadBytesMax: limit(
    "bodyOverheadBytesMax",
    "What a JSON or multipart body may hold beside its image, bytes.",
    1,
    bytesMax,
  ),
  heldBytesMax: limit("heldBytesMax", "Bodies and fetched images held at one time, bytes.", 1, bytesMax),
  uploadsMax: limit("uploadsMax", "Requests whose bodies are being received at one time.", 1, 1e6),
  bodyBytesPerSecondMin: limit(
    "bodyBytesPerSecondMin",
    "What a body must bring on average after its first second, bytes a second; 0 for nothing.",
    0,
    bytesMax,
  ),
  callerSharePercent: limit(
    "callerSharePercent",
    "What one caller may have of places, uploads and held bytes while others may want some, percent.",
    1,
    100,
  ),
  trustedProxies: text({
    help: "Addresses or networks (10.0.0.0/8), comma-separated, whose X-Forwarded-For says who a call comes from.",
    default: undefined,
  }),
  allowedHosts: text({
    help: "Names that calls may be addressed to, comma-separated, * for any. Unset: on loopback localhost and the like, elsewhere any.",
    default: undefined,
  }),
  requestsMax: limit("requestsMax", "Requests served at one time.", 1, 1e6, "FLORENCE_GATEWAY_REQUESTS_MAX"),
  queueMax: limit("queueMax", "Requests that may wait for one of those places.", 0, 1e6, "FLORENCE_GATEWAY_QUEUE_MAX"),
  tasksMax: limit("tasksMax", "Tasks in one call.", 1, 1000),
  textCharactersMax: limit("textCharactersMax", "Characters of one task's text.", 1, 1e6),
  newTokensMax: limit("newTokensMax", "Largest max_new_tokens.", 1, 1e6),
  beamsMax: limit("beamsMax", "Largest num_beams.", 1, 100),
  deadlineMs: limit("deadlineMs", "From a request's first byte to its answer's last, milliseconds.", 1, hourMs),
  urlFetchMs: limit("urlFetchMs", "Fetching an image by URL, milliseconds.", 1, hourMs),
  urlRedirectsMax: limit("urlRedirectsMax", "Redirects followed for one image.", 0, 20),
};

/** Every variable that a gateway's process reads. */
export const gatewaySpecs = { gateway: gatewayConfig, cluster: clusterConfig };

export type GatewayConfig = Config<typeof gatewayConfig>;

/** A limit's default and reason stand in limits.ts. */
function limit(name: keyof Limits, help: string, min: number, max: number, variable?: string) {
  return integer({ help, default: defaultLimits[name], min, max, ...(variable !== undefined && { variable }) });
}
