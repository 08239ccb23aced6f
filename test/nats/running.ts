import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type Embedding, embeddingKey, headerBytes } from "@florence/embeddings";
import {
  type BucketSettings,
  connectNats,
  type NatsOptions,
  NatsStore,
  type NatsStoreOptions,
} from "@florence/embeddings/nats";
import { findOrGetNatsServer, type NatsServer, type NatsServerOptions, startNatsServer } from "@florence/nats-server";
import { describe } from "vitest";

const found = await findOrGetNatsServer();

/** A group of tests that need a nats-server; where none can be had, stderr says which did not run and why. */
export function describeWithNats(name: string, tests: () => void): void {
  if (typeof found !== "string") process.stderr.write(`Not run: ${name}. ${found.missing}\n`);
  describe.runIf(typeof found === "string")(name, tests);
}

export function startServer(options: Omit<NatsServerOptions, "binary"> = {}): Promise<NatsServer> {
  return startNatsServer({ binary: String(found), ...options });
}

/** The value size of `embedding`, and room for many of them. */
export const dims = [32, 64] as const;
export const valueBytes = headerBytes + dims[0] * dims[1] * 4;
export const bucketSettings: BucketSettings = {
  name: "florence-embeddings",
  storage: "file",
  ttlMs: 3_600_000,
  bytesMax: 64 * 1024 * 1024,
  valueBytesMax: valueBytes,
  replicas: 1,
};

/** A store on a connection of its own, as another process has it; patient, unless a test is about its patience. */
export async function openStore(
  server: Pick<NatsServer, "url">,
  options: Partial<NatsStoreOptions> & { connection?: Partial<NatsOptions> } = {},
): Promise<NatsStore & AsyncDisposable> {
  const link = await connectNats({ servers: server.url, ...options.connection });
  try {
    const { valueBytesMax, bytesMax } = bucketSettings;
    const store = await NatsStore.open(link, { valueBytesMax, bytesMax, readMsMax: 5000, ...options });
    const dispose = store[Symbol.asyncDispose].bind(store);
    store[Symbol.asyncDispose] = async () => {
      await dispose();
      await link[Symbol.asyncDispose]();
    };
    return store;
  } catch (error) {
    await link[Symbol.asyncDispose]();
    throw error;
  }
}

/** A key that no other test uses. */
export function newKey(dtype: "f32" | "f16" = "f32"): string {
  const hex = (bytes: number) => randomBytes(bytes).toString("hex");
  return embeddingKey({ weightsDigest: hex(32), preprocess: "test", dtype, pixelsSha256: hex(32) });
}

/** An embedding whose numbers all follow from one. */
export function embedding(seed: number): Embedding {
  const data = Float32Array.from({ length: dims[0] * dims[1] }, (_, index) => seed + index / 4096);
  return { dims, data };
}

/** Waits until `condition` holds; the test's own time limit ends it otherwise. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(5);
}
