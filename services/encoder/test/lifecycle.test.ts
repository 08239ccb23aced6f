import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CacheResult, Encoder } from "@florence/proto/encoder";
import { HealthCheckResponse_ServingStatus as Status } from "@florence/proto/health";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildModel, large, plain, startStack } from "./stack.ts";

const resources = new AsyncDisposableStack();
let built: Awaited<ReturnType<typeof buildModel>>;
beforeAll(async () => {
  built = resources.use(await buildModel());
});
afterAll(() => resources.disposeAsync());

test("a worker that crashes fails its calls as unavailable, health says so, and it comes back", async () => {
  const visionWorker = new URL("./fixtures/falling-worker.ts", import.meta.url);
  await using stack = await startStack({ ...built, visionWorker });
  const statuses = stack.health.watch({ service: Encoder.typeName })[Symbol.asyncIterator]();
  const nextStatus = async () => (await statuses.next()).value?.status;
  expect(await nextStatus()).toBe(Status.SERVING);
  writeFileSync(join(built.model.folder, "fall"), "");
  const image = await plain(1);
  await expect(stack.client.encode({ image })).rejects.toMatchObject({ code: "unavailable" });
  expect(await nextStatus()).toBe(Status.NOT_SERVING);
  expect(await nextStatus()).toBe(Status.SERVING);
  await expect(stack.client.encode({ image })).resolves.toMatchObject({ cacheResult: CacheResult.MISS });
  await statuses.return?.();
});

test("disposal lets a call under way finish and leaves nothing that listens", async () => {
  const stack = await startStack(built);
  const image = await large();
  const call = stack.client.encode({ image });
  await stack.client.getEncoderModel({}); // Calls of one connection arrive in order: the image has arrived.
  await stack.encoder[Symbol.asyncDispose]();
  await expect(call).resolves.toMatchObject({ cacheResult: CacheResult.MISS, width: 5000 });
  await expect(stack.client.getEncoderModel({}, { deadlineMs: 2000 })).rejects.toMatchObject({ code: "unavailable" });
  await stack[Symbol.asyncDispose]();
});

test("a model that cannot be loaded fails the start, and nothing is left behind", async () => {
  const missing = { folder: join(built.model.folder, "nothing-here"), manifest: built.model.manifest };
  await expect(startStack({ model: missing })).rejects.toThrow(/vision\.onnx/);
});

test("the main thread goes on while images are decoded, resized and encoded", async () => {
  await using stack = await startStack(built);
  const images = await Promise.all(Array.from({ length: 6 }, (_, index) => plain(index, 3000, 2000)));
  let ticks = 0;
  const ticking = new AbortController();
  const ticker = (async () => {
    while (!ticking.signal.aborted) {
      await sleep(5);
      ticks++;
    }
  })();
  const began = performance.now();
  await Promise.all(images.map((image) => stack.client.encode({ image })));
  const elapsedMs = performance.now() - began;
  ticking.abort();
  await ticker;
  expect(await stack.encoded()).toBe(images.length);
  // The encoder's main thread is this one. Were it blocked for more than 50 ms at a stretch, there would be fewer.
  expect(ticks).toBeGreaterThanOrEqual(Math.floor(elapsedMs / 50));
});
