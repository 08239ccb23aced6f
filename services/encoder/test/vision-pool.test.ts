import { countEvents, createEvents } from "@florence/service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encoderEvents } from "../src/events.ts";
import { VisionPool, type VisionPoolOptions } from "../src/vision-pool.ts";
import { buildModel } from "./stack.ts";

const resources = new AsyncDisposableStack();
let built: Awaited<ReturnType<typeof buildModel>>;
beforeAll(async () => {
  built = resources.use(await buildModel("test/fixtures/odd-windows/native"));
});
afterAll(() => resources.disposeAsync());

/** A pool, and how many images it has said to have encoded. */
async function startPool(options: Partial<VisionPoolOptions> = {}): Promise<VisionPool & { encoded(): number }> {
  const { counts, listener } = countEvents(encoderEvents);
  const events = createEvents(encoderEvents, [listener]);
  const pool = await VisionPool.start(built.model, { count: 1, threads: 1, batchMax: 4, events, ...options });
  return Object.assign(pool, { encoded: () => counts.imageEncoded });
}

/** [size, size, 3], another one for each seed. */
function pixels(seed: number): Uint8Array<ArrayBuffer> {
  const { size } = built.model.manifest.config.preprocess;
  return Uint8Array.from({ length: size * size * 3 }, (_, index) => (index * (seed + 1)) % 251);
}

const never = new AbortController().signal;
const difference = (a: Float32Array, b: Float32Array) =>
  Math.max(...a.map((value, at) => Math.abs(value - (b[at] as number))));

test("images that come while the worker is busy form bounded batches, and each gets its own features", async () => {
  await using pool = await startPool();
  const seeds = Array.from({ length: 7 }, (_, seed) => seed);
  const together = await Promise.all(seeds.map((seed) => pool.encode(pixels(seed), never)));
  // The first is run at once; then four, the bound; then the last two. Images of one run report the same time.
  const runs = together.map(({ encodeMs }) => encodeMs);
  expect(new Set(runs).size).toBe(3);
  expect(new Set(runs.slice(1, 5)).size).toBe(1);
  expect(pool.encoded()).toBe(7);
  for (const [seed, { data }] of together.entries()) {
    const alone = await pool.encode(pixels(seed), never);
    expect(difference(alone.data, data)).toBeLessThan(2e-4);
    expect(difference(alone.data, (together[(seed + 1) % 7] as typeof alone).data)).toBeGreaterThan(0.01);
  }
});

test("an image that its caller has left is dropped from the queue, and no other", async () => {
  await using pool = await startPool();
  const leaving = new AbortController();
  const running = pool.encode(pixels(0), never);
  const left = pool.encode(pixels(1), leaving.signal).catch((error: unknown) => error);
  const waiting = pool.encode(pixels(2), never);
  leaving.abort();
  expect(await left).toMatchObject({ code: "cancelled" });
  await Promise.all([running, waiting]);
  expect(pool.encoded()).toBe(2);
});

test("several workers share the images", async () => {
  await using pool = await startPool({ count: 2, batchMax: 1 });
  const features = await Promise.all([0, 1, 2, 3].map((seed) => pool.encode(pixels(seed), never)));
  expect(features).toHaveLength(4);
  expect(pool.encoded()).toBe(4);
});

test("disposal refuses what waits", async () => {
  const pool = await startPool({ batchMax: 1 });
  const calls = [0, 1, 2].map((seed) => pool.encode(pixels(seed), never).catch((error: unknown) => error));
  await pool[Symbol.asyncDispose]();
  for (const outcome of (await Promise.all(calls)).slice(1)) expect(outcome).toMatchObject({ code: "unavailable" });
  await expect(pool.encode(pixels(3), never)).rejects.toMatchObject({ code: "unavailable" });
});
