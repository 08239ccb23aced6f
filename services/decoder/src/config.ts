import { natsConfig } from "@florence/embeddings/settings";
import { clusterConfig } from "@florence/grpc/settings";
import { modelConfig } from "@florence/model/settings";
import { type Config, integer, logLevels, oneOf, text } from "@florence/service";

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;

/** The decoder's own variables. */
export const decoderConfig = {
  host: text({
    variable: "FLORENCE_DECODER_HOST",
    help: "Address to listen on; a container needs 0.0.0.0.",
    default: "127.0.0.1",
  }),
  port: integer({
    variable: "FLORENCE_DECODER_PORT",
    help: "Port of the gRPC server; 0 picks a free one.",
    default: 0,
    min: 0,
    max: 65535,
  }),
  threads: integer({
    variable: "FLORENCE_DECODER_THREADS",
    help: "Cores that one model run may use; 0 takes all.",
    default: 0,
    min: 0,
    max: 1024,
  }),
  // 48 rows are 16 sequences of 3 beams: past it a step takes longer by nearly as much as it does more.
  rowsMax: integer({
    variable: "FLORENCE_DECODER_ROWS_MAX",
    help: "Hypotheses decoded in one step.",
    default: 48,
    min: 1,
    max: 4096,
  }),
  // Base takes 38 MB for a row of 1,024 tokens and as much for a prompt at most: 2 GiB hold about 28 of each.
  kvBytesMax: integer({
    variable: "FLORENCE_DECODER_KV_BYTES_MAX",
    help: "Bytes of attention keys and values.",
    default: 2 * GiB,
    min: MiB,
    max: 1024 * GiB,
  }),
  // Four prompts of base take 1.3 s on two cores: longer batches would hold up the answers under way.
  promptBatchMax: integer({
    variable: "FLORENCE_DECODER_PROMPT_BATCH_MAX",
    help: "Prompts encoded in one run; always 1 in int8 and int4.",
    default: 4,
    min: 1,
    max: 256,
  }),
  // An answer's length at most; the position table of most checkpoints ends there too.
  newTokensMax: integer({
    variable: "FLORENCE_NEW_TOKENS_MAX",
    help: "Largest max_new_tokens.",
    default: 1024,
    min: 1,
    max: 1e6,
  }),
  // Each holds an embedding (1.8 MB for base) and its tasks: further ones wait, then are refused.
  requestsMax: integer({
    variable: "FLORENCE_DECODER_REQUESTS_MAX",
    help: "Requests scheduled at one time.",
    default: 64,
    min: 1,
    max: 65536,
  }),
  queueMax: integer({
    variable: "FLORENCE_DECODER_QUEUE_MAX",
    help: "Requests that may wait for one of those places.",
    default: 64,
    min: 0,
    max: 65536,
  }),
  // 290 embeddings of base.
  storeBytesMax: integer({
    variable: "FLORENCE_DECODER_STORE_BYTES_MAX",
    help: "Bytes of embeddings kept in memory.",
    default: 512 * MiB,
    min: 0,
    max: 1024 * GiB,
  }),
  storeTtlMs: integer({
    variable: "FLORENCE_STORE_TTL_MS",
    help: "How long an embedding is kept, milliseconds.",
    default: 3_600_000,
    min: 1000,
    max: 30 * 86_400_000,
  }),
  drainMs: integer({
    variable: "FLORENCE_DRAIN_MS",
    help: "How long calls may go on after a stop began, milliseconds.",
    default: 30_000,
    min: 0,
    max: 3_600_000,
  }),
  logLevel: oneOf(logLevels, { help: "Least severe lines that are logged.", default: "info" }),
};

/** Every variable that a decoder's process reads. */
export const decoderSpecs = { decoder: decoderConfig, cluster: clusterConfig, model: modelConfig, nats: natsConfig };

export type DecoderConfig = Config<typeof decoderConfig>;
