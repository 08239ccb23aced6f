import { MemoryStore } from "@florence/embeddings";
import { CacheResult } from "@florence/proto/encoder";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildModel, plain, startStack } from "./stack.ts";

const resources = new AsyncDisposableStack();
let stack: Awaited<ReturnType<typeof startStack>>;
const store = new MemoryStore({ bytesMax: 64e6, ttlMs: 60_000 });
beforeAll(async () => {
  const { model } = resources.use(await buildModel());
  const visionWorker = new URL("./fixtures/broken-worker.ts", import.meta.url);
  stack = resources.use(await startStack({ model, store, visionWorker }));
});
afterAll(() => resources.disposeAsync());

test("an embedding with a number that is none fails its own call, is stored nowhere, and costs nobody else anything", async () => {
  const [black, white] = await Promise.all([plain(0), plain(0xffffff)]);
  const calls = [black, white, black].map((image) =>
    stack.client.encode({ image }).then(
      ({ cacheResult }) => cacheResult,
      ({ code }: { code: string }) => code,
    ),
  );
  expect(await Promise.all(calls)).toEqual(["internal", CacheResult.MISS, "internal"]);
  expect(store.entries).toBe(1);
  await expect(stack.client.encode({ image: black })).rejects.toMatchObject({ code: "internal" });
  await expect(stack.client.encode({ image: white })).resolves.toMatchObject({ cacheResult: CacheResult.HIT });
  expect(store.entries).toBe(1);
});
