import { randomUUID } from "node:crypto";
import { describeWithNats, startServer, until } from "@florence/nats-server/testing";
import { CacheResult, CacheTier, type EncodeResponse } from "@florence/proto/encoder";
import sharp from "sharp";
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

describeWithNats("what was done to an image", () => {
  test("is said by an encoder that knows the file from NATS as by the one that decoded it, and backgrounds stay apart", async () => {
    await using server = await startServer();
    await using maker = await startClusterEncoder(server, built);
    await using other = await startClusterEncoder(server, built);
    const create = { width: 40, height: 30, channels: 4, background: { r: 9, g: 200, b: 90, alpha: 0.25 } } as const;
    const image = await sharp({ create }).png().toBuffer();
    const ways = [new Uint8Array(0), new Uint8Array([255, 255, 255]), new Uint8Array([255, 255, 254])];
    const ask = ({ client }: typeof maker) =>
      Promise.all(ways.map((background) => client.encode({ image, background }, { deadlineMs })));
    const made = await ask(maker);
    expect(made.map(({ warnings }) => warnings.map(({ code }) => code))).toEqual([["alpha_dropped"], [], []]);
    expect(new Set(made.map(({ key }) => key)).size).toBe(3);
    // Each its embedding and its alias.
    await until(() => maker.counts.valueWritten === 6);
    const had = await ask(other);
    for (const [i, answer] of had.entries()) {
      const { key, warnings } = made[i] as EncodeResponse;
      expect(answer).toMatchObject({ key, warnings, cacheResult: HIT, cacheTier: CacheTier.NATS, preprocessMs: 0 });
    }
    expect(await encodedBy([other])).toBe(0);
    const wrong = other.client.encode({ image, background: new Uint8Array(4) }, { deadlineMs });
    await expect(wrong).rejects.toMatchObject({ code: "option_invalid" });
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
