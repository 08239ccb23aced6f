import { expect, test } from "vitest";
import { AliasMap, type Embedding, MemoryStore } from "../src/index.ts";
import { heard } from "./heard.ts";

// 1 KiB of numbers, which count for 2 KiB with their bookkeeping.
function embedding(fill: number): Embedding {
  return { dims: [16, 16], data: new Float32Array(256).fill(fill) };
}

function store(entries: number, ttlMs = 1000) {
  const clock = { ms: 5000 };
  const { events, counts } = heard();
  return { clock, counts, store: new MemoryStore({ bytesMax: entries * 2048, ttlMs, now: () => clock.ms, events }) };
}

test("an embedding comes back until its age is reached, whatever reads it in between", async () => {
  const { clock, counts, store: kept } = store(4);
  await kept.put("a", embedding(1));
  expect(await kept.get("a")).toEqual(embedding(1));
  expect(kept.expiresInMs("a")).toBe(1000);
  clock.ms = 5999;
  expect(await kept.has("a")).toBe(true);
  expect(await kept.get("a")).toBeDefined();
  clock.ms = 6000;
  expect(await kept.has("a")).toBe(false);
  expect(await kept.get("a")).toBeUndefined();
  expect(kept.expiresInMs("a")).toBeUndefined();
  expect(counts).toMatchObject({ embeddingFound: 2, embeddingMissed: 1, embeddingExpired: 1 });
  expect(kept).toMatchObject({ entries: 0, bytes: 0 });
});

test("the time of day may be set while embeddings are held", async () => {
  const kept = new MemoryStore({ bytesMax: 1 << 20, ttlMs: 60_000 });
  await kept.put("a", embedding(1));
  const realNow = Date.now;
  try {
    for (const jumpMs of [86_400_000, -86_400_000]) {
      Date.now = () => realNow() + jumpMs;
      expect(await kept.get("a")).toEqual(embedding(1));
      expect(kept.expiresInMs("a")).toBeLessThanOrEqual(60_000);
      expect(kept.expiresInMs("a")).toBeGreaterThan(0);
    }
  } finally {
    Date.now = realNow;
  }
});

test("putting again renews the age", async () => {
  const { clock, store: kept } = store(4);
  await kept.put("a", embedding(1));
  clock.ms = 5900;
  await kept.put("a", embedding(2));
  clock.ms = 6800;
  expect((await kept.get("a"))?.data[0]).toBe(2);
});

test("bytes are bounded, and the least recently used goes first", async () => {
  const { counts, store: kept } = store(3);
  for (const key of ["a", "b", "c"]) await kept.put(key, embedding(1));
  await kept.get("a");
  await kept.has("b"); // Asking is not using.
  await kept.put("d", embedding(1));
  expect(await kept.get("b")).toBeUndefined();
  for (const key of ["a", "c", "d"]) expect(await kept.get(key)).toBeDefined();
  expect(counts.embeddingEvicted).toBe(1);
  expect(kept).toMatchObject({ entries: 3, bytes: 3 * 2048 });
  for (let index = 0; index < 1000; index++) await kept.put(`more-${index}`, embedding(index));
  expect(kept.bytes).toBeLessThanOrEqual(3 * 2048);
});

test("a store of no bytes keeps nothing", async () => {
  const { counts, store: kept } = store(0);
  await kept.put("a", embedding(1));
  expect(await kept.get("a")).toBeUndefined();
  expect(counts).toMatchObject({ embeddingRejected: 1, embeddingMissed: 1 });
});

test("an embedding larger than the store is not kept, and evicts nothing", async () => {
  const { counts, store: kept } = store(2);
  await kept.put("a", embedding(1));
  await kept.put("big", { dims: [64, 64], data: new Float32Array(4096) });
  expect(await kept.get("big")).toBeUndefined();
  expect(await kept.get("a")).toBeDefined();
  expect(counts).toMatchObject({ embeddingRejected: 1, embeddingEvicted: 0 });
});

test("what is kept is a copy, of the tensor alone", async () => {
  const { store: kept } = store(4);
  const room = new Float32Array(10_000).fill(7);
  const view = room.subarray(100, 356);
  await kept.put("a", { dims: [16, 16], data: view });
  room.fill(0);
  const found = await kept.get("a");
  expect(found).toEqual(embedding(7));
  expect(found?.data.buffer.byteLength).toBe(1024);
});

test("a value whose buffer was transferred away is a miss, never an empty tensor", async () => {
  const { store: kept } = store(4);
  await kept.put("a", embedding(1));
  const found = await kept.get("a");
  structuredClone(found, { transfer: found ? [found.data.buffer] : [] });
  expect(await kept.get("a")).toBeUndefined();
});

test("a disposed store holds nothing", async () => {
  const { store: kept } = store(4);
  await kept.put("a", embedding(1));
  await kept[Symbol.asyncDispose]();
  expect(kept).toMatchObject({ entries: 0, bytes: 0 });
});

test("aliases are bounded, and the least recently used goes first", () => {
  const aliases = new AliasMap({ entriesMax: 2 });
  const alias = { key: "k", width: 4, height: 3, warnings: [] };
  aliases.set("a", alias);
  aliases.set("b", alias);
  aliases.get("a");
  aliases.set("c", alias);
  expect(aliases.size).toBe(2);
  expect(aliases.get("a")).toEqual(alias);
  expect(aliases.get("b")).toBeUndefined();
});
