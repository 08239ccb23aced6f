import { setTimeout as sleep } from "node:timers/promises";
import { describeWithNats, startServer, until } from "@florence/nats-server/testing";
import { afterEach, expect, test } from "vitest";
import { connectNats, type NatsStore } from "../../src/nats/index.ts";
import { embedding, newKey, type OpenedStore, openStore, valueBytes } from "./running.ts";

const readMsMax = 100;

/** Readers that never pause, each checking that what it gets is right. */
class Load implements AsyncDisposable {
  readonly #seeds = new Map<string, number>();
  readonly #store: NatsStore;
  readonly #running: Promise<void>[];
  #stopped = false;
  reads = 0;
  hits = 0;
  slowestMs = 0; // Said at the end, not asserted.
  wrong: unknown[] = [];

  constructor(store: NatsStore, readers: number) {
    this.#store = store;
    this.#running = Array.from({ length: readers }, () => this.#read());
  }

  /** Puts some more, as a process that computes them would. */
  async put(count: number): Promise<void> {
    for (let index = 0; index < count; index++) {
      const key = newKey();
      this.#seeds.set(key, this.#seeds.size);
      await this.#store.put(key, embedding(this.#seeds.size - 1));
    }
  }

  /** Waits until reads are answered again, from now on. */
  async answered(): Promise<void> {
    const { hits } = this;
    await until(() => this.hits > hits + 20);
  }

  /** Waits until many more reads have ended: none of them waits for a server that does not answer. */
  async goesOn(): Promise<void> {
    const { reads } = this;
    await until(() => this.reads > reads + 1_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#running);
  }

  async #read(): Promise<void> {
    while (!this.#stopped) {
      const keys = [...this.#seeds];
      const [key, seed] = keys[this.reads % Math.max(1, keys.length)] ?? [newKey(), 0];
      const startMs = performance.now();
      const found = await this.#store.get(key).catch((error: unknown) => this.wrong.push(error));
      this.slowestMs = Math.max(this.slowestMs, performance.now() - startMs);
      this.reads++;
      if (typeof found === "object") {
        this.hits++;
        const right = embedding(seed).data;
        if (!found.data.every((value, index) => value === right[index])) this.wrong.push(key);
      }
      await sleep(2);
    }
  }
}

let load: Load | undefined;
afterEach(async ({ task }) => {
  await load?.[Symbol.asyncDispose]();
  if (load) process.stderr.write(`${task.name}: ${load.reads} reads, slowest ${load.slowestMs.toFixed(0)} ms\n`);
  load = undefined;
});

/** No reader got anything wrong, and each read ended as a hit or as a miss that says why. */
async function expectUndisturbed({ counts }: OpenedStore): Promise<void> {
  await load?.[Symbol.asyncDispose]();
  expect(load?.wrong).toEqual([]);
  const { embeddingFound, embeddingMissed, readTimedOut, readUnavailable } = counts;
  expect(embeddingFound + embeddingMissed + readTimedOut + readUnavailable).toBe(load?.reads);
}

describeWithNats("NATS in trouble under load", () => {
  test("a server that stops makes misses, and its embeddings are there when it is back", async () => {
    await using server = await startServer();
    await using store = await openStore(server, { readMsMax });
    load = new Load(store, 8);
    await load.put(10);
    await load.answered();
    await server.stop();
    await until(() => !store.available);
    await load.put(10);
    await load.goesOn();
    await server.restart({ keepData: true });
    await until(() => store.counts.valueWritten === 20);
    await load.answered();
    await expectUndisturbed(store);
    expect(store.counts.readUnavailable).toBeGreaterThan(0);
  });

  test("a frozen server makes misses within the budget, and goes on when it thaws", async () => {
    await using server = await startServer();
    await using store = await openStore(server, { readMsMax });
    load = new Load(store, 8);
    await load.put(10);
    await load.answered();
    server.freeze();
    await until(() => store.counts.readTimedOut > 0 && !store.available);
    const { hits } = load;
    await load.put(5);
    await load.goesOn();
    expect(load.hits).toBe(hits);
    server.thaw();
    await until(() => store.counts.valueWritten === 15);
    await load.answered();
    await expectUndisturbed(store);
    expect(store.counts.breakerOpened).toBeGreaterThan(0);
  });

  test("a server frozen for so long that the connection is given up is found again", async () => {
    await using server = await startServer();
    await using store = await openStore(server, { readMsMax });
    load = new Load(store, 4);
    await load.put(5);
    await load.answered();
    server.freeze();
    await until(() => store.counts.natsDisconnected > 0); // After two missed pings.
    server.thaw();
    await load.put(5);
    await until(() => store.counts.valueWritten === 10);
    await load.answered();
    await expectUndisturbed(store);
  });

  test("a server that comes back empty gets its bucket again, and writes go on", async () => {
    await using server = await startServer();
    await using store = await openStore(server, { readMsMax });
    load = new Load(store, 8);
    await load.put(10);
    await load.answered();
    await server.restart({ keepData: false });
    await until(() => store.available);
    await load.put(10);
    await until(() => store.counts.valueWritten === 20);
    await load.answered();
    await expectUndisturbed(store);
  });

  test("a bucket that somebody deletes is made again, and writes go on", async () => {
    await using server = await startServer();
    await using store = await openStore(server, { readMsMax });
    await using link = await connectNats({ servers: server.url });
    load = new Load(store, 8);
    await load.put(10);
    await load.answered();
    await link.connection?.request("$JS.API.STREAM.DELETE.KV_florence-embeddings");
    await until(() => store.counts.breakerOpened > 0);
    await load.put(10);
    await until(() => store.counts.valueWritten === 20);
    await load.answered();
    await expectUndisturbed(store);
  });

  test("a server killed again and again under load does no more than make misses", async () => {
    await using server = await startServer();
    await using store = await openStore(server, { readMsMax });
    load = new Load(store, 8);
    for (let round = 0; round < 4; round++) {
      await load.put(5);
      await server.kill();
      await load.put(5);
      await server.restart({ keepData: round % 2 === 0 });
    }
    await load.put(5);
    await until(() => store.available && store.queued.entries === 0);
    await load.answered();
    await expectUndisturbed(store);
  });

  test("a tiny bucket under load serves what it still has, rightly", async () => {
    await using server = await startServer();
    await using store = await openStore(server, { readMsMax, bytesMax: 8 * valueBytes });
    load = new Load(store, 8);
    for (let round = 0; round < 20; round++) {
      await load.put(5);
      await until(() => store.queued.entries === 0);
    }
    await load.answered();
    await expectUndisturbed(store);
    expect(store.counts).toMatchObject({ valueWritten: 100, valueFailed: 0, valueCorrupt: 0 });
  });
});

describeWithNats("NATS that is not there", () => {
  test("a process starts without a server, and uses it once it is there", async () => {
    const { port, ...server } = await startServer();
    await server.kill();
    await using _ = server;
    await using store = await openStore(server);
    const key = newKey();
    await store.put(key, embedding(1));
    expect(await store.get(key)).toBeUndefined();
    expect(store.counts).toMatchObject({ readUnavailable: 1 });
    expect(store.queued.entries).toBe(1);
    await server.restart({ keepData: false });
    await until(() => store.counts.valueWritten === 1);
    expect(await store.get(key)).toEqual(embedding(1));
    expect(port).toBeGreaterThan(0);
  });

  test("while it is gone the queue stays within its bounds and lets the oldest go", async () => {
    await using server = await startServer();
    await using store = await openStore(server, { queue: { bytesMax: 5 * valueBytes, entriesMax: 100 } });
    await server.stop();
    await until(() => !store.available);
    const keys = Array.from({ length: 12 }, () => newKey());
    for (const [index, key] of keys.entries()) await store.put(key, embedding(index));
    expect(store.counts).toMatchObject({ valueDropped: 7 });
    expect(store.queued).toEqual({ entries: 5, bytes: 5 * valueBytes });
    await server.restart({ keepData: true });
    await until(() => store.counts.valueWritten === 5);
    expect(await store.get(keys[6] ?? "")).toBeUndefined();
    expect(await store.get(keys[7] ?? "")).toEqual(embedding(7));
  });

  test("disposal does not wait for a server that is gone or frozen", async () => {
    await using server = await startServer();
    const store = await openStore(server, { readMsMax, flushMsMax: 300 });
    server.freeze();
    await until(async () => {
      await store.get(newKey());
      return store.counts.readTimedOut > 0;
    });
    await store.put(newKey(), embedding(1));
    await store[Symbol.asyncDispose]();
    expect(store.counts).toMatchObject({ valueWritten: 0, embeddingStored: 1 });
    await server.kill();
  });
});
