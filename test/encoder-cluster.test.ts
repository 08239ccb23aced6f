import { setTimeout as sleep } from "node:timers/promises";
import { connectNats, Leases } from "@florence/embeddings/nats";
import type { NatsServer } from "@florence/nats-server";
import { describeWithNats, startServer, until } from "@florence/nats-server/testing";
import { CacheResult, CacheTier, type EncodeResponse } from "@florence/proto/encoder";
import { afterAll, beforeAll, expect, test } from "vitest";
import { drawImage } from "./support/cluster.ts";
import { buildModel, type ClusterEncoder, embeddingFrom, encodedBy, startClusterEncoder } from "./support/encoders.ts";

const hangingWorker = new URL("./support/hanging-worker.ts", import.meta.url);
// What a call may take at most; a test fails when one takes longer.
const deadlineMs = 10_000;
let seed = 1_000;
const newImage = () => drawImage(seed++);

const resources = new AsyncDisposableStack();
let built: Awaited<ReturnType<typeof buildModel>>;
beforeAll(async () => {
  built = resources.use(await buildModel());
});
afterAll(() => resources.disposeAsync());

const { HIT, MISS } = CacheResult;
const resultsOf = (answers: readonly EncodeResponse[]) => answers.map(({ cacheResult }) => cacheResult);
const countOf = (answers: readonly EncodeResponse[], result: CacheResult) =>
  resultsOf(answers).filter((one) => one === result).length;

describeWithNats("three encoders on one NATS", () => {
  let server: NatsServer;
  let encoders: ClusterEncoder[] = [];
  const start = () => Promise.all([1, 2, 3].map(() => startClusterEncoder(server, built)));
  const stop = () => Promise.all(encoders.map((encoder) => encoder[Symbol.asyncDispose]()));
  beforeAll(async () => {
    server = await startServer();
    encoders = await start();
  });
  afterAll(async () => {
    await stop();
    await server?.[Symbol.asyncDispose]();
  });
  const encode = (index: number, image: Uint8Array, tenant = "") =>
    (encoders[index % 3] as ClusterEncoder).client.encode({ image, tenant }, { deadlineMs });

  test("48 concurrent calls with one image cost one encoding, and every named holder has it", async () => {
    const image = await newImage();
    const before = await encodedBy(encoders);
    const answers = await Promise.all(Array.from({ length: 48 }, (_, index) => encode(index, image)));
    expect((await encodedBy(encoders)) - before).toBe(1);
    expect(countOf(answers, MISS)).toBe(1);
    expect(new Set(answers.map(({ key }) => key)).size).toBe(1);
    const [first, ...others] = await Promise.all(answers.map((answer) => embeddingFrom(encoders, answer)));
    for (const other of others) expect(other).toEqual(first);
  });

  test("20 images with 6 calls each cost 20 encodings", async () => {
    const images = await Promise.all(Array.from({ length: 20 }, newImage));
    const before = await encodedBy(encoders);
    const calls = Array.from({ length: 120 }, (_, index) => encode(index, images[index % 20] as Uint8Array));
    const answers = await Promise.all(calls);
    expect((await encodedBy(encoders)) - before).toBe(20);
    expect(countOf(answers, MISS)).toBe(20);
  });

  test("an image is not encoded again, whenever in the course of its encoding others ask for it", async () => {
    const before = await encodedBy(encoders);
    for (let round = 0; round < 12; round++) {
      const image = await newImage();
      const calls = [encode(round, image)];
      // From before it is decoded until after it is in NATS.
      for (let call = 1; call < 12; call++) {
        await sleep(8);
        calls.push(encode(round + call, image));
      }
      expect(countOf(await Promise.all(calls), MISS)).toBe(1);
    }
    expect((await encodedBy(encoders)) - before).toBe(12);
  });

  test("a tenant finds what it has sent, at every encoder, and not what another has", async () => {
    const image = await newImage();
    const answers = [];
    for (const [index, tenant] of ["a", "b", "", "a", "b", ""].entries()) {
      answers.push(await encode(index % 2, image, tenant)); // The second time, the other encoder.
    }
    expect(resultsOf(answers.slice(0, 3))).toEqual([MISS, MISS, MISS]);
    expect(countOf(answers.slice(3), MISS)).toBe(0);
    expect(new Set(answers.map(({ key }) => key)).size).toBe(3);
  });

  test("encoders of other weights share NATS without taking these for theirs", async () => {
    const image = await newImage();
    const mine = await encode(0, image);
    const { model } = built;
    const digest = model.manifest.digest.replace(/^./, (digit) => (digit === "0" ? "1" : "0"));
    const other = { ...model, manifest: { ...model.manifest, digest } };
    await using others = await startClusterEncoder(server, { model: other });
    const theirs = await others.client.encode({ image }, { deadlineMs });
    expect(theirs.cacheResult).toBe(MISS);
    expect(theirs.key.slice(0, 16)).toBe(digest.slice(0, 16));
    expect(await encode(1, image)).toMatchObject({ key: mine.key });
  });

  test("after all encoders were started anew nothing is encoded again, and the answers come from NATS", async () => {
    const images = await Promise.all(Array.from({ length: 4 }, newImage));
    const first = await Promise.all(images.map((image, index) => encode(index, image)));
    const numbers = await Promise.all(first.map((answer) => embeddingFrom(encoders, answer)));
    await stop();
    encoders = await start();
    for (const cacheTier of [CacheTier.NATS, CacheTier.MEMORY]) {
      const again = await Promise.all(images.map((image, index) => encode(index + 1, image)));
      for (const answer of again) expect(answer).toMatchObject({ cacheResult: HIT, cacheTier, preprocessMs: 0 });
      const same = await Promise.all(again.map((answer) => embeddingFrom(encoders, answer)));
      expect(same).toEqual(numbers);
    }
    expect(await encodedBy(encoders)).toBe(0);
  });

  test("the lease of an encoder that died is taken over by one", async () => {
    const image = await newImage();
    // Another tenant's key tells this one's: they differ in the salt.
    const { key } = await encode(0, image, "scout");
    const link = await connectNats({ servers: server.url });
    const dead = await Leases.open(link);
    const taken = await dead.acquire(key.split(".").slice(0, 4).join("."), "127.0.0.1:1", 1_000);
    expect(taken.outcome).toBe("acquired");
    await link[Symbol.asyncDispose]();
    dead[Symbol.dispose]();
    const before = await encodedBy(encoders);
    const answers = await Promise.all(Array.from({ length: 12 }, (_, index) => encode(index, image)));
    expect((await encodedBy(encoders)) - before).toBe(1);
    expect(countOf(answers, MISS)).toBe(1);
  });

  test("an encoder stopped in the middle is replaced by one of the others", async () => {
    await using stuck = await startClusterEncoder(server, {
      ...built,
      visionWorker: hangingWorker,
      env: { FLORENCE_DRAIN_MS: "0" },
    });
    const image = await newImage();
    const before = await encodedBy(encoders);
    const lost = expect(stuck.client.encode({ image }, { deadlineMs })).rejects.toBeDefined();
    await until(() => stuck.counts.leaseAcquired === 1);
    const calls = Array.from({ length: 12 }, (_, index) => encode(index, image));
    await until(() => encoders.every(({ leases }) => leases.waiting === 1));
    await stuck.stop();
    const answers = await Promise.all(calls);
    expect(countOf(answers, MISS)).toBe(1);
    expect((await encodedBy(encoders)) - before).toBe(1);
    await lost;
  });

  test("an encoder that hangs, but lives, does not make the others miss their deadline", async () => {
    await using stuck = await startClusterEncoder(server, {
      ...built,
      visionWorker: hangingWorker,
      env: { FLORENCE_DRAIN_MS: "0" },
    });
    const image = await newImage();
    const lost = expect(stuck.client.encode({ image }, { deadlineMs })).rejects.toBeDefined();
    await until(() => stuck.counts.leaseAcquired === 1);
    const client = (encoders[0] as ClusterEncoder).client;
    expect((await client.encode({ image }, { deadlineMs: 1_600 })).cacheResult).toBe(MISS);
    await stuck.stop();
    await lost;
  });
});
