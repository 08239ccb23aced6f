import { randomUUID } from "node:crypto";
import { describeWithNats, startServer, until } from "@florence/nats-server/testing";
import { CacheResult, CacheTier, type EncodeResponse } from "@florence/proto/encoder";
import { afterAll, beforeAll, expect, test } from "vitest";
import { drawImage } from "./support/cluster.ts";
import { buildModel, embeddingFrom, encodedBy, startClusterEncoder } from "./support/encoders.ts";

// What a call may take at most; a test fails when one takes longer.
const deadlineMs = 10_000;
let seed = 2_000;
const newImage = () => drawImage(seed++);

const resources = new AsyncDisposableStack();
let built: Awaited<ReturnType<typeof buildModel>>;
beforeAll(async () => {
  built = resources.use(await buildModel());
});
afterAll(() => resources.disposeAsync());

const { HIT, MISS, COALESCED } = CacheResult;
const resultsOf = (answers: readonly EncodeResponse[]) => answers.map(({ cacheResult }) => cacheResult);

describeWithNats("what has not reached NATS", () => {
  test("is had from the encoder that made it, and kept", async () => {
    await using server = await startServer();
    // Nothing fits its queue: nothing it makes is ever written.
    await using maker = await startClusterEncoder(server, { ...built, queue: { bytesMax: 0 } });
    await using other = await startClusterEncoder(server, built);
    const image = await newImage();
    const made = await maker.client.encode({ image }, { deadlineMs });
    const had = await other.client.encode({ image }, { deadlineMs });
    expect(resultsOf([made, had])).toEqual([MISS, COALESCED]);
    expect(had.holder).toBe(other.address);
    const both = [maker, other];
    expect(await embeddingFrom(both, had)).toEqual(await embeddingFrom(both, made));
    expect(await other.client.encode({ image })).toMatchObject({
      cacheResult: HIT,
      cacheTier: CacheTier.MEMORY,
    });
    expect(await encodedBy(both)).toBe(1);
  });
});

describeWithNats("encoders whose NATS", () => {
  test("freezes, goes and comes back answer every call, by encodings of their own where they must", async () => {
    await using server = await startServer();
    const impatient = { ...built, natsMsMax: 100 };
    await using one = await startClusterEncoder(server, impatient);
    await using two = await startClusterEncoder(server, impatient);
    const both = [one, two];
    const known = await newImage();
    const tenant = randomUUID();
    const ask = (image: Uint8Array) =>
      Promise.all(both.map(({ client }) => client.encode({ image, tenant }, { deadlineMs })));
    const numbersOf = async (answers: readonly EncodeResponse[]) => {
      const [first, second] = await Promise.all(answers.map((answer) => embeddingFrom(both, answer)));
      expect(second).toEqual(first);
      return first;
    };
    const undisturbed = await numbersOf(await ask(known));

    server.freeze();
    for (let round = 0; round < 3; round++) await numbersOf(await ask(await newImage()));
    expect(await numbersOf(await ask(known))).toEqual(undisturbed);
    server.thaw();

    await server.kill();
    const alone = await ask(await newImage());
    expect(resultsOf(alone)).toEqual([MISS, MISS]);
    await numbersOf(alone);

    await server.restart({ keepData: false });
    await until(() => both.every(({ store }) => store.remote.available));
    await until(async () => {
      const before = await encodedBy(both);
      await numbersOf(await ask(await newImage()));
      return (await encodedBy(both)) - before === 1; // They share their work again.
    });
  });
});
