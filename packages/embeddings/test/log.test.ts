import { describeWithNats, startServer, until } from "@florence/nats-server/testing";
import { createEvents, type Logger } from "@florence/service";
import { type DiscardPolicy, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import { embeddingEvents, logEmbeddings } from "../src/index.ts";
import { connectNats, NatsStore } from "../src/nats/index.ts";
import { codec, embedding, newKey, valueBytes } from "./nats/running.ts";

/** The warnings of a log, on a clock that the test sets. */
function warnings() {
  const clock = { ms: 0 };
  const lines: Record<string, unknown>[] = [];
  const nothing = () => {};
  const warn: Logger["warn"] = (about: unknown, text?: unknown) => void lines.push({ ...(about as object), text });
  const log = {
    trace: nothing,
    debug: nothing,
    info: nothing,
    warn,
    error: nothing,
    fatal: nothing,
  } as Partial<Logger>;
  return { clock, lines, listener: logEmbeddings(log as Logger, { now: () => clock.ms }) };
}

test("a store that takes nothing is said at once, then once a minute, and its end once", () => {
  const { clock, lines, listener } = warnings();
  const events = createEvents(embeddingEvents, [listener]);
  const bucket = "florence-embeddings";
  for (let second = 0; second < 180; second++) {
    clock.ms = second * 1000;
    for (let i = 0; i < 10; i++) events.valueFailed({ bucket, reason: "maximum bytes exceeded" });
    events.valueDropped({ bucket });
  }
  expect(lines.map(({ lost }) => lost)).toEqual([1, 11 * 60, 11 * 60]);
  expect(lines[0]).toMatchObject({ bucket, reason: "maximum bytes exceeded" });
  // One value now and then is no recovery.
  for (let second = 180; second < 200; second++) {
    clock.ms = second * 1000;
    events.valueWritten({ bucket });
    events.valueDropped({ bucket });
  }
  expect(lines).toHaveLength(4);
  clock.ms = 230_000;
  for (let i = 0; i < 100; i++) events.valueWritten({ bucket });
  expect(lines).toHaveLength(5);
  expect(lines[4]).toMatchObject({ bucket, s: 230 });
  events.valueDropped({ bucket });
  expect(lines).toHaveLength(6);
});

describeWithNats("a store without room", () => {
  test("that refuses what is put leaves one line, and what was asked is answered", async () => {
    await using server = await startServer();
    const { lines, listener } = warnings();
    const failed: string[] = [];
    const events = createEvents(embeddingEvents, [listener, { valueFailed: ({ reason }) => void failed.push(reason) }]);
    await using link = await connectNats({ servers: server.url });
    await using store = await NatsStore.open(link, { codec, valueBytesMax: valueBytes, bytesMax: 1 << 20, events });
    const connection = await connect({ servers: server.url });
    try {
      // As a disk that is full: nothing old makes room for what is new.
      const { streams } = await jetstreamManager(connection);
      await streams.update("KV_florence-embeddings", { discard: "new" as DiscardPolicy, max_bytes: 3 * valueBytes });
    } finally {
      await connection.close();
    }
    const keys = Array.from({ length: 40 }, () => newKey());
    for (const [i, key] of keys.entries()) await store.put(key, embedding(i));
    await until(() => failed.length >= 30);
    expect(new Set(failed)).toEqual(new Set(["maximum bytes exceeded"]));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ bucket: "florence-embeddings", reason: "maximum bytes exceeded" });
    expect(await store.get(keys[39] as string)).toBeUndefined();
    expect(await store.get(keys[0] as string)).toEqual(embedding(0));
  });
});
