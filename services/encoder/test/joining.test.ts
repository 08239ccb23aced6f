import { type Embedding, MemoryStore } from "@florence/embeddings";
import { CacheResult, CacheTier } from "@florence/proto/encoder";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildModel, fixture, large, plain, startStack } from "./stack.ts";

const hourMs = 3_600_000;
let now = 0;
const store = new MemoryStore({ bytesMax: 64 * 1024 * 1024, ttlMs: hourMs, now: () => now });
const resources = new AsyncDisposableStack();
let stack: Awaited<ReturnType<typeof startStack>>;
beforeAll(async () => {
  const { model } = resources.use(await buildModel());
  stack = resources.use(await startStack({ model, store }));
});
afterAll(() => resources.disposeAsync());

/** The answers, and how many images went through the model for them. */
async function counting<T>(work: () => Promise<T>): Promise<[answers: T, encoded: number]> {
  const before = await stack.encoded();
  const answers = await work();
  return [answers, (await stack.encoded()) - before];
}

test("an image sent twice is encoded once, and is found the second time", async () => {
  const image = fixture("drawn/scene-900000.png");
  const [[first, second], encoded] = await counting(async () => [
    await stack.client.encode({ image }),
    await stack.client.encode({ image }),
  ]);
  expect(encoded).toBe(1);
  expect(first).toMatchObject({ cacheResult: CacheResult.MISS, cacheTier: CacheTier.NONE });
  expect(first?.encodeMs).toBeGreaterThan(0);
  expect(second).toMatchObject({ cacheResult: CacheResult.HIT, cacheTier: CacheTier.MEMORY, encodeMs: 0 });
  const { key, width, height, holder, expiresAtMs } = first ?? {};
  expect(second).toMatchObject({ key, width, height, holder });
  expect(holder).toBe(stack.encoder.address);
  const leftMs = Number(expiresAtMs) - Date.now();
  expect(leftMs).toBeGreaterThan(hourMs / 2);
  expect(leftMs).toBeLessThanOrEqual(hourMs);
});

test("sixteen calls with one image at a time share one encoding", async () => {
  const image = await large();
  const [answers, encoded] = await counting(() =>
    Promise.all(Array.from({ length: 16 }, () => stack.client.encode({ image }))),
  );
  expect(encoded).toBe(1);
  expect(new Set(answers.map(({ key }) => key)).size).toBe(1);
  const results = answers.map(({ cacheResult }) => cacheResult);
  expect(results.filter((result) => result === CacheResult.MISS)).toHaveLength(1);
  expect(results.filter((result) => result === CacheResult.COALESCED)).toHaveLength(15);
  expect(answers.filter(({ preprocessMs }) => preprocessMs > 0)).toHaveLength(1);
  expect(answers.every(({ width, height }) => width === 5000 && height === 4000)).toBe(true);
});

test("different files of the same pixels share one encoding, at one time and later", async () => {
  const png = fixture("drawn/scene-900001.png");
  const webp = new Uint8Array(await sharp(png).webp({ lossless: true }).toBuffer());
  const gray = new Uint8Array(await sharp(png).png({ compressionLevel: 0 }).toBuffer());
  const [answers, encoded] = await counting(async () => [
    ...(await Promise.all([png, webp].map((image) => stack.client.encode({ image })))),
    await stack.client.encode({ image: gray }),
  ]);
  expect(encoded).toBe(1);
  expect(new Set(answers.map(({ key }) => key)).size).toBe(1);
  expect(answers.filter(({ cacheResult }) => cacheResult === CacheResult.MISS)).toHaveLength(1);
  expect(answers[2]?.cacheResult).toBe(CacheResult.HIT);
});

test("the orientation that a caller ignores makes another image of the file", async () => {
  const image = fixture("images/jpeg-exif6.jpg");
  const upright = await stack.client.encode({ image });
  const stored = await stack.client.encode({ image, ignoreOrientation: true });
  expect(stored.key).not.toBe(upright.key);
  expect([stored.width, stored.height]).toEqual([upright.height, upright.width]);
});

test("a tenant does not find what another has sent", async () => {
  const image = await plain(1);
  const [answers, encoded] = await counting(() =>
    Promise.all(["", "a", "b"].map((tenant) => stack.client.encode({ image, tenant }))),
  );
  expect(encoded).toBe(3);
  expect(new Set(answers.map(({ key }) => key)).size).toBe(3);
});

test("an image whose embedding has expired is encoded again", async () => {
  const image = await plain(2);
  const first = await stack.client.encode({ image });
  now += hourMs;
  await expect(stack.client.getEmbedding({ key: first.key })).rejects.toMatchObject({ code: "embedding_evicted" });
  const [again, encoded] = await counting(() => stack.client.encode({ image }));
  expect(encoded).toBe(1);
  expect(again).toMatchObject({ key: first.key, cacheResult: CacheResult.MISS });
});

test("an embedding is in the store, whole, when the answer comes", async () => {
  const { key } = await stack.client.encode({ image: await plain(3) });
  const { model } = await stack.client.getEncoderModel({});
  const { dims, data } = (await store.get(key)) as Embedding;
  expect(dims).toEqual([model?.imageTokens, model?.hiddenSize]);
  expect(data.every(Number.isFinite)).toBe(true);
});

test("an image that is found again is not the next to be forgotten", async () => {
  const { model } = resources.use(await buildModel());
  const { imageTokens, text } = model.manifest.config;
  const twoEmbeddings = 2 * (imageTokens * text.hidden * Float32Array.BYTES_PER_ELEMENT + 1024);
  await using small = await startStack({
    model,
    store: new MemoryStore({ bytesMax: twoEmbeddings, ttlMs: hourMs }),
  });
  const [first, second, third] = await Promise.all([4, 5, 6].map((colour) => plain(colour)));
  const results = [];
  for (const image of [first, second, first, third, first, second] as Uint8Array[]) {
    results.push((await small.client.encode({ image })).cacheResult);
  }
  const { HIT, MISS } = CacheResult;
  expect(results).toEqual([MISS, MISS, HIT, MISS, HIT, MISS]);
});
