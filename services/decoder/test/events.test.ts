import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { embeddingKey, MemoryStore } from "@florence/embeddings";
import { createClient } from "@florence/grpc";
import { encodingOf, prepareImage, prepareModel } from "@florence/model";
import { cpu, VisionModel } from "@florence/model/inference";
import { Decoder, type GenerateResponse } from "@florence/proto/decoder";
import { type Client, countEvents, readConfig } from "@florence/service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { decoderConfig, decoderEvents, startDecoder } from "../src/decoder.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const resources = new AsyncDisposableStack();
const tokens: number[] = [];
const sources: string[] = [];
const batches: number[] = [];
let counts: Record<keyof typeof decoderEvents, number>;
let client: Client<typeof Decoder>;
let key: string;

beforeAll(async () => {
  const cacheFolder = mkdtempSync(join(tmpdir(), "florence-decoder-events-"));
  resources.defer(() => rmSync(cacheFolder, { recursive: true, force: true }));
  const model = await prepareModel(join(root, "models/florence-2-drawn"), { cacheFolder });
  const { digest, preprocess, dtype, dims } = encodingOf(model.manifest);
  const file = readFileSync(join(root, "test/fixtures/drawn/scene-900001.png"));
  const image = await prepareImage(file, { autoOrient: false, size: model.manifest.config.preprocess.size });
  await using vision = await VisionModel.load(model.folder, model.manifest, cpu(2));
  const store = resources.use(new MemoryStore({ bytesMax: 32e6, ttlMs: 60_000 }));
  key = embeddingKey({ weightsDigest: digest, preprocess, dtype, pixelsSha256: image.sha256 });
  await store.put(key, { dims, data: new Float32Array(await vision.encode(image.pixels, 1)) });
  const counted = countEvents(decoderEvents);
  counts = counted.counts;
  const listener = {
    tokensGenerated: (about: { tokens: number }) => void tokens.push(about.tokens),
    embeddingObtained: ({ source }: { source: string }) => void sources.push(source),
    promptBatchRun: ({ prompts }: { prompts: number }) => void batches.push(prompts),
  };
  const config = readConfig({ FLORENCE_LOG_LEVEL: "silent" }, decoderConfig);
  const decoder = resources.use(await startDecoder(config, { model, store, listeners: [counted.listener, listener] }));
  client = resources.use(createClient(Decoder, decoder.address));
});
afterAll(() => resources.disposeAsync());

/** Asks, and what was heard meanwhile that was not heard before. */
async function ask(tasks: readonly string[], options: { stream?: boolean; signal?: AbortSignal } = {}) {
  const before = { ...counts };
  const got: GenerateResponse[] = [];
  const request = {
    embeddingKey: key,
    width: 640,
    height: 480,
    tasks: tasks.map((name) => ({ name, input: "" })),
    options: { numBeams: 1, maxNewTokens: 60 },
    stream: options.stream ?? false,
  };
  tokens.length = 0;
  const calls = client.generate(request, options.signal && { signal: options.signal });
  const failed = await (async () => {
    for await (const response of calls) got.push(response);
  })().catch((error: unknown) => error);
  const names = Object.keys(counts) as (keyof typeof counts)[];
  const heard = () => Object.fromEntries(names.map((name) => [name, counts[name] - before[name]]));
  return { got, failed, heard };
}

const lengthsOf = (got: readonly GenerateResponse[]) =>
  got.flatMap(({ event }) => (event.case === "result" ? [event.value.ids.length - 1] : []));

test("a call says that it was admitted, where its embedding was, each batch and what became of each task", async () => {
  const { got, heard } = await ask(["caption", "object_detection", "make_coffee"]);
  expect(heard()).toMatchObject({
    callAdmitted: 1,
    callAnswered: 1,
    taskRefused: 1,
    embeddingObtained: 1,
    sequenceJoined: 2,
    taskFinished: 2,
    tasksAbandoned: 0,
  });
  expect(sources.at(-1)).toBe("memory");
  expect(batches.reduce((sum, prompts) => sum + prompts)).toBe(counts.sequenceJoined);
  expect(lengthsOf(got)).toHaveLength(2);
});

test.each([true, false])("tokens are all told, with streaming %s", async (stream) => {
  const { got, heard } = await ask(["object_detection"], { stream });
  const [length] = lengthsOf(got);
  expect(length).toBeGreaterThan(10);
  expect(tokens.reduce((sum, count) => sum + count)).toBe(length);
  expect(tokens).toHaveLength(stream ? (length as number) : 1);
  const regions = got.filter(({ event }) => event.case === "region").length;
  expect(heard().regionClosed).toBe(regions);
  if (stream) expect(regions).toBeGreaterThan(0);
});

test("tasks whose caller leaves are said to be abandoned, and an embedding that nobody has to be gone", async () => {
  const leaving = new AbortController();
  const left = ask(["detailed_caption", "object_detection"], { stream: true, signal: leaving.signal });
  while (tokens.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  leaving.abort();
  const { failed, heard } = await left;
  expect(failed).toMatchObject({ code: "cancelled" });
  while (heard().tasksAbandoned === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  const before = counts.embeddingGone;
  const [, ...rest] = key.split(".");
  const request = { embeddingKey: ["0".repeat(16), ...rest].join("."), tasks: [{ name: "caption", input: "" }] };
  await expect(client.generate(request)[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    code: "embedding_evicted",
  });
  expect(counts.embeddingGone - before).toBe(1);
});
