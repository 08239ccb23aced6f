import { describeWithNats, startServer, until } from "@florence/nats-server/testing";
import { readConfig } from "@florence/service";
import { expect, test } from "vitest";
import { MemoryStore } from "../../src/index.ts";
import { NatsConfigError, openStores, TieredStore } from "../../src/nats/index.ts";
import { natsConfig } from "../../src/nats/settings.ts";
import { heard } from "../heard.ts";
import { dims, embedding, newKey } from "./running.ts";

const bounds = { storeBytesMax: 1 << 20, storeTtlMs: 60_000, embeddingBytes: dims[0] * dims[1] * 4 };

test("without an address of NATS there is the store in memory alone", async () => {
  await using stores = await openStores(readConfig({}, natsConfig), bounds);
  expect(stores.store).toBeInstanceOf(MemoryStore);
  expect(stores).not.toHaveProperty("leases");
  expect(stores).not.toHaveProperty("remoteAliases");
});

test("an address that cannot work is refused", async () => {
  const config = readConfig({ FLORENCE_NATS: "http://localhost" }, natsConfig);
  await expect(openStores(config, bounds)).rejects.toThrow(NatsConfigError);
});

describeWithNats("with NATS", () => {
  test("embeddings of the size that is served are shared, and files' aliases and leases too", async () => {
    await using server = await startServer();
    const config = readConfig({ FLORENCE_NATS: server.url, FLORENCE_NATS_READ_MS_MAX: "5000" }, natsConfig);
    const { events, counts } = heard();
    await using one = await openStores(config, bounds, events);
    await using other = await openStores(config, bounds);
    const [key, alias] = [newKey(), { key: newKey(), width: 4, height: 3 }];
    await one.store.put(key, embedding(1));
    one.remoteAliases?.put("file", alias);
    await until(() => counts.valueWritten === 2);
    expect(other.store).toBeInstanceOf(TieredStore);
    expect(await other.store.find(key)).toEqual({ embedding: embedding(1), tier: "nats" });
    expect(await other.remoteAliases?.get("file")).toEqual(alias);
    expect(await one.leases?.acquire("k", "one:1", 60_000)).toMatchObject({ outcome: "acquired" });
    expect(await other.leases?.acquire("k", "other:1", 60_000)).toMatchObject({ outcome: "held", holder: "one:1" });
  });
});
