import { createEvents, Fault } from "@florence/service";
import { expect, test } from "vitest";
import { type Embedding, EmbeddingHolders, embeddingEvents, embeddingKey, encode, type Holder } from "../src/index.ts";

const dims = [4, 8] as const;
const embedding: Embedding = { dims, data: new Float32Array(32).fill(0.5) };
const signal = new AbortController().signal;
const key = embeddingKey({
  weightsDigest: "a".repeat(64),
  preprocess: "p1",
  dtype: "f32",
  pixelsSha256: "b".repeat(64),
});

/** Holders that answer as `get` does, and what was opened, closed and said. */
function holders(get: Holder["getEmbedding"]) {
  const opened: string[] = [];
  const closed: string[] = [];
  const results: string[] = [];
  const events = createEvents(embeddingEvents, [{ embeddingFetched: ({ result }) => void results.push(result) }]);
  const connect = (address: string): Holder => {
    if (!address.includes(":")) throw new Error("no address");
    opened.push(address);
    return { getEmbedding: get, close: () => void closed.push(address) };
  };
  return { holders: new EmbeddingHolders({ connect, dims, events }), opened, closed, results };
}

test("an embedding comes from its holder, over one client for each", async () => {
  const { holders: all, opened, closed, results } = holders(async () => ({ value: encode(embedding) }));
  for (const holder of ["a:1", "b:1", "a:1"]) expect(await all.fetch(holder, key, signal)).toEqual(embedding);
  expect(opened).toEqual(["a:1", "b:1"]);
  expect(results).toEqual(["found", "found", "found"]);
  all[Symbol.dispose]();
  expect(closed).toEqual(["b:1", "a:1"]);
});

test.each([
  ["bytes that do not verify", async () => ({ value: encode(embedding).fill(7, 30, 31) }), "invalid"],
  ["another type of numbers", async () => ({ value: encode(embedding, "f16") }), "invalid"],
  ["other dims", async () => ({ value: encode({ dims: [8, 4], data: embedding.data }) }), "invalid"],
  ["that it has none", () => Promise.reject(new Fault("embedding_evicted", "gone")), "missing"],
  ["that it is not there", () => Promise.reject(new Fault("unavailable", "not there")), "unreachable"],
])("a holder that answers with %s is as good as none, and said so", async (_, get, result) => {
  const { holders: all, results } = holders(get);
  expect(await all.fetch("a:1", key, signal)).toBeUndefined();
  expect(results).toEqual([result]);
});

test("what is no address is unreachable, and a caller that leaves gets its reason", async () => {
  const { holders: all, results } = holders(() => Promise.reject(new Error("cut")));
  expect(await all.fetch("nowhere", key, signal)).toBeUndefined();
  expect(results).toEqual(["unreachable"]);
  await expect(all.fetch("a:1", key, AbortSignal.abort(new Error("left")))).rejects.toThrow("left");
});

test("clients are bounded, and the one not used for longest is closed first", async () => {
  const { holders: all, opened, closed } = holders(async () => ({ value: encode(embedding) }));
  for (let index = 0; index < 64; index++) await all.fetch(`h${index}:1`, key, signal);
  await all.fetch("h0:1", key, signal);
  await all.fetch("h64:1", key, signal);
  expect(opened).toHaveLength(65);
  expect(closed).toEqual(["h1:1"]);
});

test("a holder is given a bounded time, and less where the caller has less", async () => {
  const deadlines: number[] = [];
  const { holders: all } = holders(async (_, { deadlineMs }) => {
    deadlines.push(deadlineMs);
    return { value: encode(embedding) };
  });
  for (const msMax of [undefined, 50, 1e9, -3]) await all.fetch("a:1", key, signal, msMax);
  expect(deadlines).toEqual([2_000, 50, 2_000, 1]);
});
