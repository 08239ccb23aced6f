import { randomBytes } from "node:crypto";
import type { NatsServer } from "@florence/nats-server";
import { type Embedding, EmbeddingCodec, embeddingKey, headerBytes, Seal } from "../../src/index.ts";
import {
  type BucketSettings,
  connectNats,
  type NatsOptions,
  NatsStore,
  type NatsStoreOptions,
} from "../../src/nats/index.ts";
import { heard } from "../heard.ts";

export const codec = new EmbeddingCodec(new Seal());

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

/** A store, and how often it has said what. */
export type OpenedStore = NatsStore & { readonly counts: ReturnType<typeof heard>["counts"] };

/** A store on a connection of its own, as another process has it; patient, unless a test is about its patience. */
export async function openStore(
  server: Pick<NatsServer, "url">,
  options: Partial<NatsStoreOptions> & { connection?: Partial<NatsOptions> } = {},
): Promise<OpenedStore> {
  await using resources = new AsyncDisposableStack();
  const { events, counts } = heard();
  const link = resources.use(await connectNats({ servers: server.url, events, ...options.connection }));
  const { valueBytesMax, bytesMax } = bucketSettings;
  const store = await NatsStore.open(link, { valueBytesMax, codec, bytesMax, readMsMax: 5000, events, ...options });
  const dispose = store[Symbol.asyncDispose].bind(store);
  const opened = resources.move();
  store[Symbol.asyncDispose] = async () => {
    await dispose();
    await opened.disposeAsync();
  };
  return Object.assign(store, { counts });
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
