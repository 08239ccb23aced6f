import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decoderConfig, decoderEvents, startDecoder } from "@florence/decoder";
import { embeddingEvents, Seal } from "@florence/embeddings";
import { openStores } from "@florence/embeddings/nats";
import { natsConfig } from "@florence/embeddings/settings";
import { encoderConfig, startEncoder } from "@florence/encoder";
import { gatewayConfig, startGateway } from "@florence/gateway";
import { createClient, openCredentials } from "@florence/grpc";
import { type ClusterConfig, clusterConfig } from "@florence/grpc/settings";
import { type BuiltModel, encodingOf } from "@florence/model";
import { Decoder } from "@florence/proto/decoder";
import { Encoder } from "@florence/proto/encoder";
import { countEvents, createEvents, readConfig } from "@florence/service";
import { root } from "./services.ts";

export type Env = Readonly<Record<string, string>>;

export const secretEnv: Env = { FLORENCE_CLUSTER_SECRET: "the secret that all services of a test share" };

/** The settings of a process with one of the fixtures' certificates. */
export function tlsEnv(name = "service", authority = "authority"): Env {
  const file = (file: string) => join(root, "test/fixtures/tls", file);
  return {
    FLORENCE_TLS_CERT: file(`${name}.pem`),
    FLORENCE_TLS_KEY: file(`${name}.key`),
    FLORENCE_TLS_CA: file(`${authority}.pem`),
    FLORENCE_TLS_SERVER_NAME: "florence.test",
  };
}

/** What a process of a cluster, or a foreign one, has to show. */
export function clusterOf(env: Env): ClusterConfig {
  return readConfig(env, clusterConfig);
}

/** The users that docs/security.md gives a NATS server, with these passwords. */
export function documentedUsers(passwords: { encoder: string; decoder: string }): string {
  const page = readFileSync(join(root, "docs/security.md"), "utf8");
  const block = /```conf\n([\s\S]*?)```/.exec(page)?.[1] as string;
  return block
    .replace("$ENCODER_PASSWORD", JSON.stringify(passwords.encoder))
    .replace("$DECODER_PASSWORD", JSON.stringify(passwords.decoder));
}

export interface InsideOptions {
  readonly model: BuiltModel;
  readonly cluster: ClusterConfig;
  /** NATS settings of the encoder and of the decoder; without them each keeps embeddings in its own memory. */
  readonly nats?: { readonly encoder: Env; readonly decoder: Env };
  /** Bytes that the decoder keeps in memory; 0 has it ask elsewhere each time. */
  readonly decoderBytesMax?: number;
}

/** An encoder, a decoder and a gateway with stores of their own, as separate processes have them. */
export async function startInside({ model, cluster, nats, decoderBytesMax = 64e6 }: InsideOptions) {
  await using resources = new AsyncDisposableStack();
  const settings = { FLORENCE_LOG_LEVEL: "silent", FLORENCE_ENCODER_THREADS: "1", FLORENCE_DECODER_THREADS: "1" };
  const embeddingBytes = encodingOf(model.manifest).bytes;
  const stores = async (role: "encoder" | "decoder", storeBytesMax: number) => {
    const { counts, listener } = countEvents(embeddingEvents);
    const config = readConfig({ FLORENCE_NATS_READ_MS_MAX: "2000", ...nats?.[role] }, natsConfig);
    const bounds = { storeBytesMax, storeTtlMs: 600_000, embeddingBytes };
    const user = { role, seal: new Seal(cluster.secret), events: createEvents(embeddingEvents, [listener]) };
    return { counts, ...resources.use(await openStores(config, bounds, user)) };
  };
  const encoderStores = await stores("encoder", 64e6);
  const decoderStores = await stores("decoder", decoderBytesMax);
  const { counts: decoderCounts, listener } = countEvents(decoderEvents);
  const encoder = resources.use(
    await startEncoder(readConfig(settings, encoderConfig), { model, cluster, ...encoderStores }),
  );
  const decoder = resources.use(
    await startDecoder(readConfig(settings, decoderConfig), {
      model,
      cluster,
      ...decoderStores,
      listeners: [listener],
    }),
  );
  const found = { PORT: "0", FLORENCE_ENCODER: encoder.address, FLORENCE_DECODER: decoder.address };
  const gateway = resources.use(
    await startGateway(readConfig({ ...settings, ...found }, gatewayConfig), undefined, { cluster }),
  );
  const running = resources.move();
  return {
    url: gateway.url,
    encoder,
    decoder,
    /** How often the stores have said what. */
    encoderCounts: encoderStores.counts,
    decoderStoreCounts: decoderStores.counts,
    decoderCounts,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Clients of both services for a process that shows these credentials. */
export function clientsOf(
  { encoder, decoder }: { encoder: { address: string }; decoder: { address: string } },
  cluster: ClusterConfig,
) {
  const options = { credentials: openCredentials(cluster), deadlineMsDefault: 10_000 };
  const [toEncoder, toDecoder] = [
    createClient(Encoder, encoder.address, options),
    createClient(Decoder, decoder.address, options),
  ];
  return {
    encoder: toEncoder,
    decoder: toDecoder,
    [Symbol.dispose]() {
      toEncoder.close();
      toDecoder.close();
    },
  };
}
