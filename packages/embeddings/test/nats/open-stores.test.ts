import { describeWithNats, startServer, until } from "@florence/nats-server/testing";
import { readConfig } from "@florence/service";
import { expect, test } from "vitest";
import { MemoryStore, Seal } from "../../src/index.ts";
import { NatsConfigError, openStores, TieredStore } from "../../src/nats/index.ts";
import { natsConfig } from "../../src/nats/settings.ts";
import { heard } from "../heard.ts";
import { dims, embedding, newKey } from "./running.ts";

const bounds = { storeBytesMax: 1 << 20, storeTtlMs: 60_000, embeddingBytes: dims[0] * dims[1] * 4 };
const encoder = { role: "encoder", seal: new Seal() } as const;

test("without an address of NATS there is the store in memory alone", async () => {
  await using stores = await openStores(readConfig({}, natsConfig), bounds, encoder);
  expect(stores.store).toBeInstanceOf(MemoryStore);
  expect(stores).not.toHaveProperty("leases");
  expect(stores).not.toHaveProperty("remoteAliases");
});

test("an address that cannot work is refused", async () => {
  const config = readConfig({ FLORENCE_NATS: "http://localhost" }, natsConfig);
  await expect(openStores(config, bounds, encoder)).rejects.toThrow(NatsConfigError);
});

describeWithNats("with NATS", () => {
  test("embeddings of the size that is served are shared, and files' aliases and leases too", async () => {
    await using server = await startServer();
    const config = readConfig({ FLORENCE_NATS: server.url, FLORENCE_NATS_READ_MS_MAX: "5000" }, natsConfig);
    const { events, counts } = heard();
    await using one = await openStores(config, bounds, { ...encoder, events });
    await using other = await openStores(config, bounds, encoder);
    const [key, alias] = [newKey(), { key: newKey(), width: 4, height: 3, warnings: [] }];
    await one.store.put(key, embedding(1));
    one.remoteAliases?.put("file", alias);
    await until(() => counts.valueWritten === 2);
    expect(other.store).toBeInstanceOf(TieredStore);
    expect(await other.store.find(key)).toEqual({ embedding: embedding(1), tier: "nats" });
    expect(await other.remoteAliases?.get("file")).toEqual(alias);
    expect(await one.leases?.acquire("k", "one:1", 60_000)).toMatchObject({ outcome: "acquired" });
    expect(await other.leases?.acquire("k", "other:1", 60_000)).toMatchObject({ outcome: "held", holder: "one:1" });
  });

  test("a decoder reads embeddings and writes nothing, whoever comes first", async () => {
    await using server = await startServer();
    const config = readConfig({ FLORENCE_NATS: server.url, FLORENCE_NATS_READ_MS_MAX: "5000" }, natsConfig);
    const [ones, others] = [heard(), heard()];
    await using reader = await openStores(config, bounds, { ...encoder, role: "decoder", events: others.events });
    expect(reader).not.toHaveProperty("leases");
    expect(reader).not.toHaveProperty("remoteAliases");
    await using writer = await openStores(config, bounds, { ...encoder, events: ones.events });
    const [key, kept] = [newKey(), newKey()];
    await writer.store.put(key, embedding(1));
    await until(() => ones.counts.valueWritten === 1);
    await until(async () => (await reader.store.find(key)) !== undefined);
    for (const put of ["put", "keep"] as const) await reader.store[put](kept, embedding(2));
    expect(await reader.store.find(kept)).toMatchObject({ tier: "memory" });
    expect(await writer.store.find(kept)).toBeUndefined();
    expect(others.counts).toMatchObject({ valueWritten: 0, valueFailed: 0 });
  });
});
