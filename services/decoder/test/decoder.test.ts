import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { EmbeddingCodec, embeddingKey, MemoryStore, Seal } from "@florence/embeddings";
import { createClient, implement, startServer } from "@florence/grpc";
import { type BuiltModel, findTask, prepareImage, prepareModel } from "@florence/model";
import { cpu, VisionModel } from "@florence/model/inference";
import { Decoder, type GenerateResponse } from "@florence/proto/decoder";
import { Encoder } from "@florence/proto/encoder";
import { Health, HealthCheckResponse_ServingStatus as Status } from "@florence/proto/health";
import { type Client, Fault, readConfig } from "@florence/service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decoderConfig, type RunningDecoder, startDecoder } from "../src/decoder.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "florence-decoder-test-"));
const image = "scene-900001.png";
const cases: {
  image: string;
  task: string;
  input: string | null;
  imageSize: [number, number];
  runs: { beams: number; ids: number[]; score?: number }[];
}[] = JSON.parse(readFileSync(join(root, "test/fixtures/drawn/goldens.json"), "utf8")).cases.filter(
  (c: { image: string }) => c.image === image,
);
const [width, height] = (cases[0] as (typeof cases)[number]).imageSize;
const tasks = cases.map((c) => ({ name: findTask(c.task).name, input: c.input ?? "" }));

let model: BuiltModel;
let features: Float32Array<ArrayBuffer>;
let key: string;

beforeAll(async () => {
  model = await prepareModel(join(root, "models/florence-2-drawn"), { cacheFolder: folder });
  const { manifest } = model;
  await using vision = await VisionModel.load(model.folder, manifest, cpu(2));
  const prepared = await prepareImage(readFileSync(join(root, "test/fixtures/drawn", image)), {
    autoOrient: false,
    size: manifest.config.preprocess.size,
  });
  features = new Float32Array(await vision.encode(prepared.pixels, 1));
  key = embeddingKey({ weightsDigest: manifest.digest, preprocess: "p1", dtype: "f32", pixelsSha256: prepared.sha256 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Started extends AsyncDisposable {
  readonly decoder: RunningDecoder;
  readonly client: Client<typeof Decoder>;
}

/** A decoder whose store holds the image's embedding, unless `empty`. */
async function start(env: Record<string, string> = {}, empty = false): Promise<Started> {
  await using resources = new AsyncDisposableStack();
  const store = resources.use(new MemoryStore({ bytesMax: 32e6, ttlMs: 60_000 }));
  const { imageTokens, text } = model.manifest.config;
  if (!empty) await store.put(key, { dims: [imageTokens, text.hidden], data: features });
  const config = readConfig({ FLORENCE_LOG_LEVEL: "fatal", FLORENCE_DRAIN_MS: "2000", ...env }, decoderConfig);
  const decoder = resources.use(await startDecoder(config, { model, store }));
  const client = resources.use(createClient(Decoder, decoder.address));
  const running = resources.move();
  return { decoder, client, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

const request = (some: typeof tasks, options = {}) => ({
  embeddingKey: key,
  width,
  height,
  tasks: some,
  options: { numBeams: 1, maxNewTokens: 200, ...options },
});

async function collect(events: AsyncIterable<GenerateResponse>): Promise<GenerateResponse[]> {
  const out: GenerateResponse[] = [];
  for await (const event of events) out.push(event);
  return out;
}

function results(events: readonly GenerateResponse[]) {
  return events.flatMap(({ taskIndex, event }) => (event.case === "result" ? [{ taskIndex, ...event.value }] : []));
}

async function settled({ decoder }: Started): Promise<void> {
  // Two steps of this model take some milliseconds; a second is a busy machine's.
  for (let i = 0; i < 100; i++) {
    const { sequences, kvBytes } = await decoder.usage();
    if (sequences === 0 && kvBytes === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`the decoder still holds ${JSON.stringify(await decoder.usage())}`);
}

describe("answers", () => {
  test.each([1, 3])("of all tasks of an image in one call equal the goldens, with %i beams", async (beams) => {
    await using started = await start();
    const got = results(await collect(started.client.generate(request(tasks, { numBeams: beams }))));
    expect(got).toHaveLength(tasks.length);
    for (const { taskIndex, ids, score, tokenLogProbs } of got) {
      const run = cases[taskIndex]?.runs.find((r) => r.beams === beams);
      // A three-beam answer may fall the other way at a tie; its score then is the same.
      if (beams === 1 || Math.abs((run?.score ?? 0) - score) > 1e-4)
        expect(ids, tasks[taskIndex]?.name).toEqual(run?.ids);
      expect(tokenLogProbs).toHaveLength(ids.length - 1);
    }
    await settled(started);
  });

  test("of many calls at once are those of each alone, though the batch has room for few", async () => {
    await using started = await start({ FLORENCE_DECODER_ROWS_MAX: "5", FLORENCE_DECODER_PROMPT_BATCH_MAX: "3" });
    const all = await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        collect(started.client.generate(request(tasks.slice(i % 4, (i % 4) + 4), { numBeams: 1 + 2 * (i % 2) }))),
      ),
    );
    for (const [i, events] of all.entries()) {
      for (const { taskIndex, ids, score } of results(events)) {
        const run = cases[(i % 4) + taskIndex]?.runs[i % 2];
        if (i % 2 === 0 || Math.abs((run?.score ?? 0) - score) > 1e-4) expect(ids).toEqual(run?.ids);
      }
    }
    await settled(started);
  });

  test("that are constrained parse to whole regions with scores", async () => {
    await using started = await start();
    const events = await collect(
      started.client.generate(request([{ name: "object_detection", input: "" }], { constrain: true })),
    );
    const [result] = results(events);
    expect(result?.regions.length).toBeGreaterThan(0);
    for (const region of result?.regions ?? []) {
      expect(region.rings[0]?.coordinates).toHaveLength(4);
      expect(region.score).toBeGreaterThan(0);
    }
  });
});

test("a stream tells each token, each region as it closes, and then the result that holds them all", async () => {
  await using started = await start();
  const events = await collect(
    started.client.generate({ ...request([{ name: "object_detection", input: "" }]), stream: true }),
  );
  const kinds = events.map(({ event }) => event.case);
  expect(kinds[0]).toBe("started");
  expect(kinds.at(-1)).toBe("result");
  const [result] = results(events);
  const tokens = events.flatMap(({ event }) => (event.case === "token" ? [event.value] : []));
  expect(tokens.map((t) => t.id)).toEqual(result?.ids.slice(1));
  expect(`</s>${tokens.map((t) => t.text).join("")}`).toBe(result?.text);
  const regions = events.flatMap(({ event }) => (event.case === "region" ? [event.value] : []));
  expect(regions).toEqual(result?.regions);
  // The first region comes with its fourth location, long before the end.
  expect(kinds.indexOf("region")).toBeLessThan(kinds.lastIndexOf("token") - 5);
});

test("a task that cannot be asked gets a problem, and the others their answers", async () => {
  await using started = await start();
  const some = [
    { name: "caption", input: "" },
    { name: "phrase_grounding", input: "" },
    { name: "phrase_grounding", input: "x y ".repeat(400) },
    { name: "make_coffee", input: "" },
  ];
  const events = await collect(started.client.generate(request(some)));
  const problems = events.flatMap(({ taskIndex, event }) =>
    event.case === "problem" ? [[taskIndex, event.value.code]] : [],
  );
  expect(problems).toEqual([
    [1, "task_input_missing"],
    [2, "prompt_too_long"],
    [3, "task_unknown"],
  ]);
  expect(results(events).map((r) => r.taskIndex)).toEqual([0]);
});

test("texts far longer than any prompt are refused untokenised, and hold up nobody", async () => {
  await using started = await start();
  // 1 MiB in all, with nothing in it that a tokenizer could skip.
  const hostile = Array.from({ length: 31 }, (_, i) => ({ name: "prompt", input: `${i}é😀x `.repeat(2_500) }));
  const held: number[] = [];
  let last = performance.now();
  const watch = setInterval(() => {
    held.push(performance.now() - last);
    last = performance.now();
  }, 1);
  const events = await collect(started.client.generate(request([...hostile, { name: "caption", input: "" }])));
  clearInterval(watch);
  const problems = events.flatMap(({ event }) => (event.case === "problem" ? [event.value.code] : []));
  expect(problems).toEqual(hostile.map(() => "prompt_too_long"));
  expect(results(events).map(({ taskIndex }) => taskIndex)).toEqual([31]);
  process.stderr.write(`31 texts of 30 kB held the thread for ${Math.round(Math.max(...held))} ms at most\n`);
});

test("a call of more than a MiB is refused, and says why", async () => {
  await using started = await start();
  const call = request([{ name: "prompt", input: "x".repeat(1024 * 1024) }]);
  await expect(collect(started.client.generate(call))).rejects.toMatchObject({ code: "body_invalid" });
  expect(results(await collect(started.client.generate(request(tasks.slice(0, 1)))))).toHaveLength(1);
});

test("half a surrogate pair reaches the model as the character that stands for what is none", async () => {
  await using started = await start();
  const asked = ["a \ud800 cat", "a \udc00 cat", "a \ufffd cat"].map((input) => ({ name: "phrase_grounding", input }));
  const answers = results(await collect(started.client.generate(request(asked, { maxNewTokens: 4 }))));
  expect(answers).toHaveLength(3);
  expect(new Set(answers.map(({ promptIds }) => promptIds.join(","))).size).toBe(1);
});

test("a client that goes away frees its slots within a step, and the others are not disturbed", async () => {
  await using started = await start();
  const leaving = new AbortController();
  const gone = collect(
    started.client.generate({ ...request(tasks, { numBeams: 3 }), stream: true }, { signal: leaving.signal }),
  );
  const stays = collect(started.client.generate(request(tasks.slice(0, 4))));
  for (let waited = 0; waited < 500 && (await started.decoder.usage()).sequences < 8; waited++)
    await new Promise((resolve) => setTimeout(resolve, 2));
  leaving.abort();
  await expect(gone).rejects.toMatchObject({ code: "cancelled" });
  for (const { taskIndex, ids } of results(await stays)) expect(ids).toEqual(cases[taskIndex]?.runs[0]?.ids);
  await settled(started);
});

test("a request of one task is not held up by one of 32", async () => {
  await using started = await start({ FLORENCE_DECODER_ROWS_MAX: "5", FLORENCE_DECODER_PROMPT_BATCH_MAX: "1" });
  const many = Array.from({ length: 32 }, (_, i) => tasks[i % tasks.length] as (typeof tasks)[number]);
  const order: string[] = [];
  const large = collect(started.client.generate(request(many))).then(() => order.push("32 tasks"));
  const small = collect(started.client.generate(request([{ name: "caption", input: "" }]))).then(() =>
    order.push("one task"),
  );
  await Promise.all([large, small]);
  expect(order).toEqual(["one task", "32 tasks"]);
});

test("past the calls that it takes, the next is refused at once", async () => {
  await using started = await start({ FLORENCE_DECODER_REQUESTS_MAX: "1", FLORENCE_DECODER_QUEUE_MAX: "1" });
  const calls = await Promise.allSettled(
    Array.from({ length: 4 }, () => collect(started.client.generate(request(tasks.slice(0, 6))))),
  );
  const refused = calls.filter((c) => c.status === "rejected");
  expect(refused.map((c) => (c.reason as Fault).code)).toEqual(["overloaded", "overloaded"]);
  for (const { reason } of refused) expect((reason as Fault).retryAfterS).toBeGreaterThan(0);
  await settled(started);
});

test("a call that runs out of time fails with deadline_exceeded and leaves nothing", async () => {
  await using started = await start();
  await expect(
    collect(started.client.generate(request(tasks, { numBeams: 3 }), { deadlineMs: 30 })),
  ).rejects.toMatchObject({ code: "deadline_exceeded" });
  await settled(started);
});

test("a watch of its health hears that it stops, and ends", async () => {
  await using started = await start({ FLORENCE_DRAIN_MS: "60000" });
  using health = createClient(Health, started.decoder.address);
  const statuses: Status[] = [];
  const watching = (async () => {
    for await (const { status } of health.watch({ service: Decoder.typeName })) statuses.push(status);
  })();
  while (statuses.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  await started.decoder[Symbol.asyncDispose]();
  await watching;
  expect(statuses).toEqual([Status.SERVING, Status.NOT_SERVING]);
});

describe("an embedding that the store does not have", () => {
  test("is fetched from the encoder that made it, once for all calls, and kept", async () => {
    let asked = 0;
    const { imageTokens, text } = model.manifest.config;
    await using holder = await startServer({
      host: "127.0.0.1",
      port: 0,
      services: [
        implement(Encoder, {
          encode: async () => Promise.reject(new Fault("unavailable", "not here")),
          getEncoderModel: async () => ({}),
          getEmbedding: async () => {
            asked++;
            return {
              value: new EmbeddingCodec(new Seal()).encode(key, { dims: [imageTokens, text.hidden], data: features }),
            };
          },
        }),
      ],
    });
    await using started = await start({}, true);
    const ask = () => collect(started.client.generate({ ...request(tasks.slice(0, 2)), holder: holder.address }));
    for (const events of [...(await Promise.all([ask(), ask(), ask()])), await ask()]) {
      for (const { taskIndex, ids } of results(events)) expect(ids).toEqual(cases[taskIndex]?.runs[0]?.ids);
    }
    expect(asked).toBe(1);
  });

  test("and nobody else either is embedding_evicted, quickly when the holder is gone", async () => {
    await using started = await start({}, true);
    for (const holder of ["", "127.0.0.1:1"]) {
      await expect(collect(started.client.generate({ ...request(tasks.slice(0, 1)), holder }))).rejects.toMatchObject({
        code: "embedding_evicted",
      });
    }
  });

  test("a key of another form is refused", async () => {
    await using started = await start();
    await expect(
      collect(started.client.generate({ ...request(tasks.slice(0, 1)), embeddingKey: "../../etc/passwd" })),
    ).rejects.toMatchObject({ code: "body_invalid" });
  });
});
