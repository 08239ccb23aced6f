// What it costs that services prove themselves and seal what they share, as ratios from one run:
//   node lab/bench/inside.ts [ROUNDS]
// The same encoder and the same bytes four times: nothing, a secret, certificates, both; in turns. Then a stored value with a seal against
// one with a CRC-32 in its place, alone and through a NATS server. One process has both ends, so the ratios are upper bounds.
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32 } from "node:zlib";
import { type Embedding, EmbeddingCodec, embeddingKey, headerBytes, MemoryStore, Seal } from "@florence/embeddings";
import { connectNats, NatsStore } from "@florence/embeddings/nats";
import { encoderConfig, startEncoder } from "@florence/encoder";
import { type Credentials, createClient, implement, openCredentials, startServer } from "@florence/grpc";
import { type ClusterConfig, clusterConfig } from "@florence/grpc/settings";
import { prepareModel } from "@florence/model";
import { findOrGetNatsServer, startNatsServer } from "@florence/nats-server";
import { Encoder } from "@florence/proto/encoder";
import { readConfig, Secret } from "@florence/service";
import sharp from "sharp";

const rounds = Number(process.argv[2] ?? 300);
const root = fileURLToPath(new URL("../../", import.meta.url));
const pem = (name: string) => join(root, "test/fixtures/tls", name);
const secret = { FLORENCE_CLUSTER_SECRET: "a secret for this measurement" };
const tls = {
  FLORENCE_TLS_CERT: pem("service.pem"),
  FLORENCE_TLS_KEY: pem("service.key"),
  FLORENCE_TLS_CA: pem("authority.pem"),
  FLORENCE_TLS_SERVER_NAME: "florence.test",
};
const clusters: Record<string, ClusterConfig> = {
  nothing: readConfig({}, clusterConfig),
  secret: readConfig(secret, clusterConfig),
  certificates: readConfig(tls, clusterConfig),
  both: readConfig({ ...secret, ...tls }, clusterConfig),
};

/** A seal as cheap as a checksum can be. */
class CrcSeal extends Seal {
  override of(...[, , ...parts]: Parameters<Seal["of"]>): Buffer {
    const seal = Buffer.alloc(32);
    seal.writeUInt32LE(parts.reduce((crc, part) => crc32(part, crc), 0));
    return seal;
  }
}

await using resources = new AsyncDisposableStack();
const work = mkdtempSync(join(tmpdir(), "florence-inside-"));
resources.defer(() => rmSync(work, { recursive: true, force: true }));
console.log(`${cpus()[0]?.model}, node ${process.version}, ${rounds} rounds; ms p50, and times the first column`);

// The numbers of base: 577 x 768, 1.8 MB.
const embedding: Embedding = {
  dims: [577, 768],
  data: Float32Array.from({ length: 577 * 768 }, (_, i) => Math.sin(i)),
};
const key = embeddingKey({
  weightsDigest: "a".repeat(64),
  preprocess: "bench",
  dtype: "f32",
  pixelsSha256: "b".repeat(64),
});

const model = await prepareModel(join(root, "models/florence-2-drawn"), { cacheFolder: work });
const image = new Uint8Array(
  await sharp({ create: { width: 320, height: 240, channels: 3, background: "teal" } })
    .png()
    .toBuffer(),
);
const photo = new Uint8Array(1_000_000).fill(7);
const calls: Record<string, Record<string, () => Promise<unknown>>> = {
  "Encode, a hit": {},
  "GetEmbedding, 1.8 MB": {},
  "1 MB up, 0 down": {},
};
for (const [name, cluster] of Object.entries(clusters)) {
  const store = new MemoryStore({ bytesMax: 64e6, ttlMs: 3_600_000 });
  const config = readConfig({ FLORENCE_LOG_LEVEL: "silent" }, encoderConfig);
  const encoder = resources.use(await startEncoder(config, { model, store, cluster }));
  const credentials = openCredentials(cluster);
  const client = resources.use(createClient(Encoder, encoder.address, { credentials }));
  const sink = resources.use(createClient(Encoder, await startSink(credentials), { credentials }));
  await client.encode({ image });
  await store.put(key, embedding);
  (calls["Encode, a hit"] as Record<string, unknown>)[name] = () => client.encode({ image });
  (calls["GetEmbedding, 1.8 MB"] as Record<string, unknown>)[name] = () => client.getEmbedding({ key });
  (calls["1 MB up, 0 down"] as Record<string, unknown>)[name] = () => sink.encode({ image: photo });
}
for (const [what, variants] of Object.entries(calls)) report(what, await inTurns(variants));

const seals = { "crc-32": new CrcSeal(), hmac: new Seal(new Secret(secret.FLORENCE_CLUSTER_SECRET)) };
const alone: Record<string, () => Promise<unknown>> = {};
const through: Record<string, () => Promise<unknown>> = {};
const binary = await findOrGetNatsServer();
const server = typeof binary === "string" ? resources.use(await startNatsServer({ binary })) : undefined;
for (const [name, seal] of Object.entries(seals)) {
  const codec = new EmbeddingCodec(seal);
  alone[name] = async () => codec.decode(key, codec.encode(key, embedding));
  if (!server) continue;
  const link = resources.use(await connectNats({ servers: server.url }));
  const valueBytesMax = headerBytes + embedding.data.byteLength;
  const bucket = `bench-${name}`;
  const store = resources.use(
    await NatsStore.open(link, { codec, valueBytesMax, bucket, bytesMax: 64e6, readMsMax: 5_000 }),
  );
  through[name] = async () => {
    await store.put(key, embedding);
    while (store.queued.entries > 0) await new Promise((resolve) => setImmediate(resolve));
    if (!(await store.get(key))) throw new Error("NATS lost the value.");
  };
}
report("a value of 1.8 MB written and read", await inTurns(alone));
if (server) report("the same, put and got through NATS", await inTurns(through));

/** A service that takes what it is sent. */
async function startSink(credentials: Credentials): Promise<string> {
  const nothing = async () => ({});
  const handlers = { encode: nothing, getEmbedding: nothing, getEncoderModel: nothing };
  const services = [implement(Encoder, handlers)];
  return resources.use(await startServer({ host: "127.0.0.1", port: 0, services, credentials })).address;
}

/** Milliseconds of each variant: one of each in turn, so that a busy moment meets all, and each in every place, so that no one pays for another's garbage. */
async function inTurns(variants: Record<string, () => Promise<unknown>>): Promise<Map<string, number>> {
  const times = new Map(Object.keys(variants).map((name) => [name, [] as number[]]));
  for (let round = -20; round < rounds; round++) {
    const order = Object.entries(variants);
    const first = Math.floor(Math.random() * order.length);
    for (const [name, run] of [...order.slice(first), ...order.slice(0, first)]) {
      const began = performance.now();
      await run();
      if (round >= 0) times.get(name)?.push(performance.now() - began); // The first rounds compile.
    }
  }
  const middle = (all: number[]) => all.sort((a, b) => a - b)[all.length >> 1] as number;
  return new Map([...times].map(([name, all]) => [name, middle(all)]));
}

function report(what: string, medians: ReadonlyMap<string, number>): void {
  const [first = 1] = medians.values();
  const cells = [...medians].map(([name, ms]) => `${name} ${ms.toFixed(2)} (x${(ms / first).toFixed(2)})`);
  console.log(`${what.padEnd(36)} ${cells.join("  ")}`);
}
