import { createEvents, Fault, Secret } from "@florence/service";
import { expect, test } from "vitest";
import {
  type Embedding,
  EmbeddingCodec,
  EmbeddingHolders,
  embeddingEvents,
  embeddingKey,
  type Holder,
  holderAddresses,
  Seal,
} from "../src/index.ts";

const dims = [4, 8] as const;
const embedding: Embedding = { dims, data: new Float32Array(32).fill(0.5) };
const codec = new EmbeddingCodec(new Seal());
const signal = new AbortController().signal;
const key = embeddingKey({
  weightsDigest: "a".repeat(64),
  preprocess: "p1",
  dtype: "f32",
  pixelsSha256: "b".repeat(64),
});

/** Holders that answer as `get` does, and what was opened, closed and said. */
function holders(get: Holder["getEmbedding"], addresses = holderAddresses(undefined, { tls: true })) {
  const opened: string[] = [];
  const closed: string[] = [];
  const results: string[] = [];
  const events = createEvents(embeddingEvents, [{ embeddingFetched: ({ result }) => void results.push(result) }]);
  const connect = (address: string): Holder => {
    if (!address.includes(":")) throw new Error("no address");
    opened.push(address);
    return { getEmbedding: get, close: () => void closed.push(address) };
  };
  return { holders: new EmbeddingHolders({ connect, dims, codec, addresses, events }), opened, closed, results };
}

test("an embedding comes from its holder, over one client for each", async () => {
  const { holders: all, opened, closed, results } = holders(async () => ({ value: codec.encode(key, embedding) }));
  for (const holder of ["a:1", "b:1", "a:1"]) expect(await all.fetch(holder, key, signal)).toEqual(embedding);
  expect(opened).toEqual(["a:1", "b:1"]);
  expect(results).toEqual(["found", "found", "found"]);
  all[Symbol.dispose]();
  expect(closed).toEqual(["b:1", "a:1"]);
});

test.each([
  ["bytes that do not verify", async () => ({ value: codec.encode(key, embedding).fill(7, 60, 61) }), "invalid"],
  ["another type of numbers", async () => ({ value: codec.encode(key.replace("f32", "f16"), embedding) }), "invalid"],
  ["other dims", async () => ({ value: codec.encode(key, { dims: [8, 4], data: embedding.data }) }), "invalid"],
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
  const { holders: all, opened, closed } = holders(async () => ({ value: codec.encode(key, embedding) }));
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
    return { value: codec.encode(key, embedding) };
  });
  for (const msMax of [undefined, 50, 1e9, -3]) await all.fetch("a:1", key, signal, msMax);
  expect(deadlines).toEqual([2_000, 50, 2_000, 1]);
});

test("with a secret only what an encoder stated about this very key is connected to", async () => {
  const [ours, theirs] = ["the secret of one cluster", "the secret of another"].map((secret) =>
    holderAddresses(new Secret(secret), { tls: false }),
  ) as [ReturnType<typeof holderAddresses>, ReturnType<typeof holderAddresses>];
  const { holders: all, opened, results } = holders(async () => ({ value: codec.encode(key, embedding) }), ours);
  const stated = ours.state(key, "10.0.0.7:1");
  const other = key.replace(/b/, "c");
  const forged = [
    "10.0.0.7:1",
    "10.0.0.7:1#",
    theirs.state(key, "10.0.0.7:1"),
    ours.state(other, "10.0.0.7:1"),
    stated.replace("10.0.0.7", "10.0.0.8"),
    `${stated}#`.slice(1),
    "",
  ];
  for (const holder of forged) expect(await all.fetch(holder, key, signal)).toBeUndefined();
  expect(opened).toEqual([]);
  expect(new Set(results)).toEqual(new Set(["untrusted"]));
  expect(await all.fetch(stated, key, signal)).toEqual(embedding);
  expect(opened).toEqual(["10.0.0.7:1"]);
});

test("where nothing proves anything only this machine is asked", async () => {
  const { holders: all, opened } = holders(
    async () => ({ value: codec.encode(key, embedding) }),
    holderAddresses(undefined, { tls: false }),
  );
  for (const holder of [
    "10.0.0.7:1",
    "encoder:1",
    "169.254.169.254:80",
    "[fd00::7]:1",
    "localhost.example:1",
    "127.1:1",
    "no address",
  ])
    expect(await all.fetch(holder, key, signal)).toBeUndefined();
  expect(opened).toEqual([]);
  for (const holder of ["127.0.0.1:1", "[::1]:1", "localhost:1"])
    expect(await all.fetch(holder, key, signal)).toEqual(embedding);
});
