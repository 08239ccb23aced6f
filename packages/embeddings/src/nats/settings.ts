import { type Config, integer, secret, text } from "@florence/service";

const GiB = 1024 ** 3;

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
