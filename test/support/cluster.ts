import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Member, startTopology, type Topology } from "@florence/cli/topology";
import { createClient, openCredentials } from "@florence/grpc";
import { findOrGetNatsServer, type NatsServer, startNatsServer } from "@florence/nats-server";
import { Decoder } from "@florence/proto/decoder";
import { Encoder } from "@florence/proto/encoder";
import sharp from "sharp";
import { root } from "./services.ts";

/** The nats-server to test with, or why there is none; said once, so that a skipped test is no secret. */
export const natsBinary = await findOrGetNatsServer();
export const haveNats = typeof natsBinary === "string";
if (typeof natsBinary !== "string") process.stderr.write(`skipped, no nats-server: ${natsBinary.missing}\n`);

export interface Cluster extends Topology {
  readonly nats: NatsServer | undefined;
  readonly urls: readonly string[];
  /** Images that went through a vision graph, over all encoders and their restarts. */
  encodings(): Promise<number>;
  /** Kills an encoder; what it had encoded still counts. */
  killEncoder(index: number): Promise<void>;
  /** What the decoders hold; all zero when nothing runs. */
  held(): Promise<{ requests: number; sequences: number; kvBytes: number }>;
}

export interface ClusterOptions {
  readonly gateways?: number;
  readonly encoders?: number;
  readonly decoders?: number;
  readonly nats?: boolean;
  readonly natsConfig?: string;
  readonly env?: Record<string, string>;
  /** Gets what a process writes to stderr. */
  readonly onLog?: (name: string, text: string) => void;
}

/** The system as separate processes on free loopback ports, with a nats-server of its own. */
export async function startCluster({
  gateways = 1,
  encoders = 1,
  decoders = 1,
  nats = true,
  env = {},
  onLog,
}: ClusterOptions): Promise<Cluster> {
  await using resources = new AsyncDisposableStack();
  const cache = mkdtempSync(join(tmpdir(), "florence-cluster-"));
  resources.defer(() => rmSync(cache, { recursive: true, force: true }));
  const server =
    nats && typeof natsBinary === "string" ? resources.use(await startNatsServer({ binary: natsBinary })) : undefined;
  const threads = { FLORENCE_ENCODER_THREADS: "1", FLORENCE_DECODER_THREADS: "1", FLORENCE_LOG_LEVEL: "fatal" };
  const model = join(root, "models/florence-2-drawn");
  const topology = resources.use(
    await startTopology({
      gateways,
      encoders,
      decoders,
      model,
      cache,
      nats: server?.url,
      env: { ...threads, ...env },
      ...(onLog && { onLog }),
    }),
  );
  const credentials = openCredentials(topology.cluster);
  let before = 0; // by processes that are gone
  // A channel of its own for each question: one to a process that was just started again would still be backing off.
  const encodingsOf = async ({ address }: Member) => {
    using client = createClient(Encoder, address, { credentials });
    return Number((await client.getEncoderModel({}, { deadlineMs: 5_000 })).imagesEncoded);
  };
  const modelOf = async ({ address }: Member) => {
    using client = createClient(Decoder, address, { credentials });
    return await client.getDecoderModel({}, { deadlineMs: 5_000 });
  };
  const running = resources.move();
  return {
    ...topology,
    nats: server,
    urls: topology.gateways.map(({ address }) => address),
    async encodings() {
      const counts = await Promise.all(topology.encoders.map((m) => (m.pid === undefined ? 0 : encodingsOf(m))));
      return counts.reduce((n, c) => n + c, before);
    },
    async killEncoder(index) {
      const encoder = topology.encoders[index] as Member;
      before += await encodingsOf(encoder);
      await encoder.kill();
    },
    async held() {
      const all = await Promise.all(topology.decoders.map(modelOf));
      const sum = (of: (r: (typeof all)[number]) => number) => all.reduce((n, r) => n + of(r), 0);
      return {
        requests: sum((r) => r.requests),
        sequences: sum((r) => r.sequences),
        kvBytes: sum((r) => Number(r.kvBytes)),
      };
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** An image that no other seed gives: a coloured ground with a rectangle. */
export async function drawImage(seed: number): Promise<Uint8Array<ArrayBuffer>> {
  const color = (n: number) => ({ r: (n * 97) % 256, g: (n * 57) % 256, b: (n * 31) % 256 });
  const box = await sharp({
    create: { width: 40 + (seed % 60), height: 50, channels: 3, background: color(seed + 90) },
  })
    .png()
    .toBuffer();
  const ground = sharp({ create: { width: 200, height: 160, channels: 3, background: color(seed) } });
  return new Uint8Array(
    await ground
      .composite([{ input: box, left: seed % 90, top: (seed * 7) % 100 }])
      .png()
      .toBuffer(),
  );
}

/** Resident memory of a process in bytes; undefined where the system does not tell. */
export function residentBytes({ pid }: Member): number | undefined {
  try {
    const kB = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return kB === undefined ? undefined : Number(kB) * 1024;
  } catch {
    return undefined;
  }
}

/** Figures that a test has seen: said, never asserted. */
export function report(line: string): void {
  process.stderr.write(`${line}\n`);
}
