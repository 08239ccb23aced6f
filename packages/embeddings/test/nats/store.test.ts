import type { NatsServer } from "@florence/nats-server";
import { describeWithNats, startServer, until } from "@florence/nats-server/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { headerBytes, MemoryStore } from "../../src/index.ts";
import { connectNats, NatsBucket, NatsConfigError, RemoteAliases, TieredStore } from "../../src/nats/index.ts";
import { heard } from "../heard.ts";
import { bucketSettings, dims, embedding, newKey, openStore, valueBytes } from "./running.ts";

describeWithNats("embeddings in NATS", () => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  test("what one process puts, another gets, in the precision that the key says", async () => {
    await using one = await openStore(server);
    await using other = await openStore(server);
    const [full, half] = [newKey("f32"), newKey("f16")];
    expect(await other.get(full)).toBeUndefined();
    await one.put(full, embedding(1));
    await one.put(half, embedding(0.5));
    await until(() => one.counts.valueWritten === 2);
    expect(await other.get(full)).toEqual(embedding(1));
    expect(await other.has(full)).toBe(true);
    expect(await other.has(newKey())).toBe(false);
    const found = await other.find(half);
    expect(found?.tier).toBe("nats");
    expect(found?.embedding.data[5]).toBeCloseTo(0.5 + 5 / 4096, 3);
    expect(other.counts).toMatchObject({ embeddingFound: 2, embeddingMissed: 1, readTimedOut: 0, valueCorrupt: 0 });
  });

  test("disposal writes what is still waiting", async () => {
    const keys = Array.from({ length: 20 }, () => newKey());
    {
      await using one = await openStore(server);
      for (const [index, key] of keys.entries()) await one.put(key, embedding(index));
    }
    await using other = await openStore(server);
    for (const [index, key] of keys.entries()) expect(await other.get(key)).toEqual(embedding(index));
  });

  test("values that do not verify are counted, deleted and missed, and a new one takes their place", async () => {
    await using store = await openStore(server);
    await using link = await connectNats({ servers: server.url });
    using bucket = await NatsBucket.open(link, bucketSettings);
    const key = newKey();
    await store.put(key, embedding(3));
    await until(() => store.counts.valueWritten === 1);
    const good = Buffer.from((await bucket.get(key, 1000))?.value ?? []);
    const flipped = (at: number) => good.map((byte, index) => (index === at ? byte ^ 0x10 : byte));
    const bad = [flipped(0), flipped(9), flipped(headerBytes + 77), good.subarray(0, 100), Buffer.alloc(0)];
    for (const [index, value] of bad.entries()) {
      await bucket.put(key, value, { timeoutMs: 1000 });
      expect(await store.get(key)).toBeUndefined();
      expect(store.counts.valueCorrupt).toBe(index + 1);
      await until(async () => (await bucket.get(key, 1000)) === undefined);
    }
    await store.put(key, embedding(4));
    await until(() => store.counts.valueWritten === 2);
    expect(await store.get(key)).toEqual(embedding(4));
    // A whole value of another precision is not this key's either.
    const half = newKey("f16");
    await bucket.put(half, good, { timeoutMs: 1000 });
    expect(await store.get(half)).toBeUndefined();
  });

  test("a key deleted by another tool is a miss", async () => {
    await using store = await openStore(server);
    await using link = await connectNats({ servers: server.url });
    using bucket = await NatsBucket.open(link, bucketSettings);
    const key = newKey();
    await bucket.put(key, "", { timeoutMs: 1000, deletion: true });
    expect(await store.get(key)).toBeUndefined();
    expect(store.counts).toMatchObject({ embeddingMissed: 1, valueCorrupt: 0 });
  });

  test("text that is no key reads nothing, whatever wildcards it holds", async () => {
    await using store = await openStore(server);
    for (const key of ["*", ">", "a.*.b", "", " ", "../x", "a\r\nPUB x 0"]) {
      expect(await store.get(key)).toBeUndefined();
      expect(await store.has(key)).toBe(false);
      await store.put(key, embedding(1));
    }
    expect(store.counts).toMatchObject({ embeddingRejected: 7, embeddingFound: 0, valueWritten: 0 });
  });

  test("an embedding over the limit, or not finite, is not put", async () => {
    await using store = await openStore(server);
    await store.put(newKey(), { dims: [64, 64], data: new Float32Array(4096) });
    await store.put(newKey("f16"), { dims, data: new Float32Array(2048).fill(1e6) });
    await store.put(newKey(), { dims, data: new Float32Array(2048).fill(Number.NaN, 7, 8) });
    await store.put(newKey(), { dims, data: new Float32Array(3) });
    expect(store.counts).toMatchObject({ embeddingStored: 0, embeddingRejected: 4 });
    expect(store.queued.entries).toBe(0);
  });

  test("concurrent reads of one key are one request, which fills the memory", async () => {
    await using writer = await openStore(server);
    const key = newKey();
    await writer.put(key, embedding(7));
    await until(() => writer.counts.valueWritten === 1);
    const memory = new MemoryStore({ bytesMax: 1 << 20, ttlMs: 60_000 });
    const remote = await openStore(server);
    await using store = new TieredStore({ memory, remote });
    const found = await Promise.all(Array.from({ length: 32 }, () => store.find(key)));
    for (const one of found) expect(one).toEqual({ embedding: embedding(7), tier: "nats" });
    expect(remote.counts.embeddingFound).toBe(1);
    expect(await store.find(key)).toMatchObject({ tier: "memory" });
    expect(store.expiresInMs(key)).toBeGreaterThan(0);
    expect(await store.find(newKey())).toBeUndefined();
  });

  test("aliases of files are shared, and what is no alias is a miss", async () => {
    await using link = await connectNats({ servers: server.url });
    const [ones, others] = [heard(), heard()];
    await using one = await RemoteAliases.open(link, { readMsMax: 5000, events: ones.events });
    await using other = await RemoteAliases.open(link, { readMsMax: 5000, events: others.events });
    const warnings = [{ code: "alpha_dropped", message: "Some pixels are transparent." }];
    const alias = { key: newKey(), width: 640, height: 480, warnings };
    expect(await other.get("file.upright")).toBeUndefined();
    one.put("file.upright", alias);
    await until(() => ones.counts.valueWritten === 1);
    expect(await other.get("file.upright")).toEqual(alias);
    one.put("odd", { ...alias, key: "*" });
    await until(() => ones.counts.valueWritten === 2);
    expect(await other.get("odd")).toBeUndefined();
    one.put("odd", { ...alias, warnings: [{ code: "alpha_dropped" }] as never });
    await until(() => ones.counts.valueWritten === 3);
    expect(await other.get("odd")).toBeUndefined();
    // Another file's alias, whole.
    using bucket = await NatsBucket.open(link, { ...bucketSettings, name: "florence-aliases", valueBytesMax: 2048 });
    const { value = "" } = (await bucket.get("file.upright", 1000)) ?? {};
    await bucket.put("other.upright", value, { timeoutMs: 1000 });
    expect(await other.get("other.upright")).toBeUndefined();
    await until(async () => (await bucket.get("other.upright", 1000)) === undefined);
    expect(others.counts).toMatchObject({ aliasFound: 1, aliasMissed: 4, valueCorrupt: 3 });
  });
});

describeWithNats("a bucket's bounds", () => {
  test("a full bucket takes what is new and forgets what is oldest", async () => {
    await using server = await startServer();
    await using store = await openStore(server, { bytesMax: 10 * valueBytes });
    const keys = Array.from({ length: 40 }, () => newKey());
    for (const [index, key] of keys.entries()) {
      await store.put(key, embedding(index));
      await until(() => store.counts.valueWritten === index + 1);
      expect(await store.get(key)).toEqual(embedding(index));
    }
    expect(await store.get(keys[0] ?? "")).toBeUndefined();
    expect(await store.get(keys[38] ?? "")).toEqual(embedding(38));
    expect(store.counts).toMatchObject({ valueFailed: 0, valueDropped: 0 });
  });

  test("an embedding is gone after its time to live", async () => {
    await using server = await startServer();
    await using store = await openStore(server, { ttlMs: 1000 });
    const key = newKey();
    await store.put(key, embedding(1));
    await until(() => store.counts.valueWritten === 1);
    await until(async () => (await store.get(key)) === undefined);
    expect(store.counts).toMatchObject({ readTimedOut: 0, readUnavailable: 0 });
  });

  test("a bucket made with other settings is brought to these, and keeps its values", async () => {
    await using server = await startServer();
    const key = newKey();
    {
      await using first = await openStore(server, { ttlMs: 60_000 });
      await first.put(key, embedding(1));
    }
    await using link = await connectNats({ servers: server.url });
    using bucket = await NatsBucket.open(link, { ...bucketSettings, ttlMs: 1500, bytesMax: 20 * valueBytes });
    expect(await bucket.get(key, 1000)).toBeDefined();
    await until(async () => (await bucket.get(key, 1000)) === undefined);
  });

  test("a server whose messages are too small is refused with a reason", async () => {
    await using server = await startServer({ maxPayload: 1024 * 1024 });
    const opened = openStore(server, { valueBytesMax: 4 * 1024 * 1024 });
    await expect(opened).rejects.toThrow(NatsConfigError);
    await expect(opened).rejects.toThrow(/max_payload/);
  });

  test("a bucket that the server has no room for is refused with a reason", async () => {
    await using server = await startServer({ storeBytesMax: 1024 * 1024 });
    await expect(openStore(server)).rejects.toThrow(/florence-embeddings/);
    await expect(openStore(server, { bytesMax: 10 })).rejects.toThrow(/too small/);
    await expect(openStore(server, { bytesMax: 20 * valueBytes, replicas: 3 })).rejects.toThrow(NatsConfigError);
  });
});
