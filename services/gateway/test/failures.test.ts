import { Fault } from "@florence/service";
import { expect, test } from "vitest";
import { data, digest, image, type Json, problemOf, resultOf, startStack } from "./stack.ts";

const call = { image: { data }, tasks: [{ task: "caption" }, { task: "ocr" }] };
const encoded = { key: "k", width: 10, height: 10, holder: "127.0.0.1:1", expiresAtMs: 0n };

test("an encoder that is unavailable is asked three times more, and no more", async () => {
  let failures = 1;
  await using stack = await startStack({
    encoder: {
      encode: async () => {
        if (failures-- > 0) throw new Fault("unavailable", "Restarting.");
        return encoded;
      },
    },
  });
  expect((await stack.json(call)).status).toBe(200);
  expect(stack.encodes).toHaveLength(2);
  failures = 6;
  const response = await stack.json(call);
  expect(response.headers.get("retry-after")).toBe("1");
  expect(await problemOf(response)).toMatchObject({ status: 503, code: "unavailable" });
  expect(stack.encodes).toHaveLength(6);
});

test("an encoder's refusal reaches the caller as it is, and is not tried again", async () => {
  await using stack = await startStack({
    encoder: {
      encode: async () => {
        throw new Fault("image_undecodable", "The JPEG ends early.");
      },
    },
  });
  expect(await problemOf(await stack.json(call))).toMatchObject({
    status: 422,
    code: "image_undecodable",
    detail: "The JPEG ends early.",
  });
  expect(stack.encodes).toHaveLength(1);
});

test("a service at capacity is 429 with its own Retry-After, whether the answer is JSON or events", async () => {
  await using stack = await startStack({
    decoder: {
      // biome-ignore lint/correctness/useYield: it refuses before its first event.
      async *generate() {
        throw new Fault("overloaded", "Busy.", { retryAfterS: 7 });
      },
    },
  });
  for (const stream of [false, true]) {
    const response = await stack.json({ ...call, stream });
    expect(response.headers.get("retry-after")).toBe("7");
    expect(await problemOf(response)).toMatchObject({ status: 429, code: "overloaded", detail: "Busy." });
  }
});

test("an error inside a service is 500 and tells the caller nothing of it", async () => {
  await using stack = await startStack({
    encoder: {
      encode: async () => {
        throw new Error("/secret/path does not exist");
      },
    },
  });
  const problem = await problemOf(await stack.json(call));
  expect(problem).toMatchObject({ status: 500, code: "internal" });
  expect(JSON.stringify(problem)).not.toContain("secret");
});

test("an embedding that is gone is encoded again once while the image is at hand", async () => {
  let evictions = 1;
  await using stack = await startStack({
    encoder: { encode: async () => ({ ...encoded, key: `key-${stack.encodes.length}` }) },
    decoder: {
      async *generate({ tasks }) {
        if (evictions-- > 0) throw new Fault("embedding_evicted", "Gone.");
        for (const [taskIndex, { name, input }] of tasks.entries()) {
          yield { taskIndex, event: { case: "result", value: resultOf(name, input) } };
        }
      },
    },
  });
  expect((await stack.json(call)).status).toBe(200);
  expect(stack.encodes).toHaveLength(2);
  expect(stack.generates.map(({ embeddingKey }) => embeddingKey)).toEqual(["key-1", "key-2"]);

  evictions = 2;
  expect(await problemOf(await stack.json(call))).toMatchObject({ status: 410, code: "embedding_evicted" });
  expect(stack.generates).toHaveLength(4);
});

test("only the tasks that met the eviction are run again", async () => {
  let evicted = false;
  await using stack = await startStack({
    decoder: {
      async *generate({ tasks }) {
        for (const [taskIndex, { name, input }] of tasks.entries()) {
          if (name === "ocr" && !evicted) {
            evicted = true;
            yield { taskIndex, event: { case: "problem", value: { code: "embedding_evicted", detail: "Gone." } } };
          } else {
            yield { taskIndex, event: { case: "result", value: resultOf(name, input) } };
          }
        }
      },
    },
  });
  const answer = (await (await stack.json(call)).json()) as Json;
  expect(answer.results.map(({ task, text }: Json) => [task, text])).toEqual([
    ["caption", "</s><s>caption</s>"],
    ["ocr", "</s><s>ocr</s>"],
  ]);
  expect(stack.generates.map(({ tasks }) => tasks.map(({ name }) => name))).toEqual([["caption", "ocr"], ["ocr"]]);
});

test("an image id whose embedding is gone is 410 and says to send the image again", async () => {
  await using stack = await startStack({
    decoder: {
      // biome-ignore lint/correctness/useYield: it refuses before its first event.
      async *generate() {
        throw new Fault("embedding_evicted", "The image is no longer held. Send the image again.");
      },
    },
  });
  const { image } = (await (await stack.json({ image: { data } }, "/v1/images")).json()) as Json;
  const problem = await problemOf(await stack.json({ image: { id: image.id }, tasks: call.tasks }));
  expect(problem).toMatchObject({ status: 410, code: "embedding_evicted", detail: expect.stringContaining("again") });
  expect(stack.encodes).toHaveLength(1);
});

test("one task's problem, or a decoder that dies half way, loses no finished result", async () => {
  let dies = false;
  await using stack = await startStack({
    decoder: {
      async *generate({ tasks }) {
        // Asked again, it has the one task that is left, and dies again.
        if (tasks[1]) yield { taskIndex: 1, event: { case: "result", value: resultOf(tasks[1].name, "") } };
        if (dies) throw new Fault("unavailable", "Shutting down.");
        yield { taskIndex: 0, event: { case: "problem", value: { code: "prompt_too_long", detail: "Too long." } } };
      },
    },
  });
  for (const [code, status] of [
    ["prompt_too_long", 400],
    ["unavailable", 503],
  ] as const) {
    dies = code === "unavailable";
    const response = await stack.json(call);
    expect(response.status).toBe(200);
    const { results } = (await response.json()) as Json;
    expect(results[0]).toMatchObject({ task: "caption", error: { code, status } });
    expect(results[1]).toMatchObject({ task: "ocr", text: "</s><s>ocr</s>" });
  }
});

test("what a decoder that dies left open is asked of it once it is back, and what was finished is not asked again", async () => {
  let calls = 0;
  const asked: string[][] = [];
  await using stack = await startStack({
    decoder: {
      async *generate({ tasks }) {
        asked.push(tasks.map(({ name }) => name));
        yield { taskIndex: 0, event: { case: "result", value: resultOf(tasks[0]?.name ?? "", "") } };
        if (++calls === 1) throw new Fault("unavailable", "Killed.");
      },
    },
  });
  const { results } = (await (await stack.json(call)).json()) as Json;
  expect(asked).toEqual([["caption", "ocr"], ["ocr"]]);
  expect(results).toMatchObject([{ text: "</s><s>caption</s>" }, { text: "</s><s>ocr</s>" }]);
});

test("a decoder that answers too little leaves an error, not a hole", async () => {
  await using stack = await startStack({
    decoder: {
      async *generate() {
        yield { taskIndex: 1, event: { case: "result", value: resultOf("ocr", "") } };
      },
    },
  });
  const { results } = (await (await stack.json(call)).json()) as Json;
  expect(results[0].error).toMatchObject({ code: "internal", status: 500 });
});

test("a call that outlasts its deadline is 504 and frees the service", async () => {
  const freed = Promise.withResolvers<void>();
  await using stack = await startStack({
    env: { FLORENCE_DEADLINE_MS: "300" },
    encoder: {
      encode: (_request, { signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener("abort", () => {
            freed.resolve();
            reject(signal.reason);
          });
        }),
    },
  });
  expect(await problemOf(await stack.json(call))).toMatchObject({ status: 504, code: "deadline_exceeded" });
  await freed.promise;
});

test("the gateway is ready only while both services answer with the same checkpoint", async () => {
  const model = { name: "other", digest: "other" };
  await using differing = await startStack({ decoder: { getDecoderModel: async () => ({ model }) } });
  expect(await problemOf(await differing.get("/readyz"))).toMatchObject({ status: 503, code: "unavailable" });
  expect((await differing.get("/healthz")).status).toBe(200);
  await using lonely = await startStack({ env: { FLORENCE_DECODER: "127.0.0.1:1" } });
  const response = await lonely.get("/readyz");
  expect(response.headers.get("retry-after")).toBe("1");
  expect((await problemOf(response)).detail).toBe("The decoder does not answer.");
  expect((await lonely.get("/healthz")).status).toBe(200);
});

test("the first call of all is answered though a service could not name its model a moment before", async () => {
  let asked = 0;
  await using stack = await startStack({
    decoder: {
      getDecoderModel: async () => {
        if (asked++ === 0) throw new Fault("unavailable", "Starting.");
        return { model: { name: "scripted", digest } };
      },
    },
  });
  expect((await stack.json(call)).status).toBe(200);
  expect(asked).toBe(2);
});

test("a body over the limit is refused at its announced length, or where it crosses the limit", async () => {
  await using stack = await startStack({
    env: { FLORENCE_UPLOAD_BYTES_MAX: "100000", FLORENCE_BODY_OVERHEAD_BYTES_MAX: "1000" },
  });
  expect(await problemOf(await stack.raw("task=caption", new Uint8Array(100_001)))).toMatchObject({
    status: 413,
    code: "image_too_large",
  });
  expect((await stack.raw("task=caption", new Uint8Array(100_000))).status).toBe(200);

  let sent = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      sent += 10_000;
      controller.enqueue(new Uint8Array(10_000));
    },
  });
  const chunked = await fetch(`${stack.url}/v1/annotate?task=caption`, {
    method: "POST",
    headers: { "content-type": "image/png" },
    body: endless,
    duplex: "half",
  } as RequestInit);
  expect(await problemOf(chunked)).toMatchObject({ status: 413, code: "image_too_large" });
  expect(sent).toBeLessThan(10_000_000); // What sockets buffer, not what the sender had to give.

  const large = Buffer.alloc(100_001).toString("base64");
  expect((await problemOf(await stack.json({ image: { data: large }, tasks: [{ task: "caption" }] }))).code).toBe(
    "image_too_large",
  );
  const form = new FormData();
  form.set("image", new Blob([new Uint8Array(100_001)]), "image.png");
  form.set("tasks", '[{"task":"caption"}]');
  expect((await problemOf(await fetch(`${stack.url}/v1/annotate`, { method: "POST", body: form }))).code).toBe(
    "image_too_large",
  );
  expect(stack.encodes).toHaveLength(1);
});

test("requests and bytes beyond what may be held at one time are 429, and places are given back", async () => {
  const entered = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  await using stack = await startStack({
    env: { FLORENCE_GATEWAY_REQUESTS_MAX: "1", FLORENCE_GATEWAY_QUEUE_MAX: "0", FLORENCE_HELD_BYTES_MAX: "8" },
    encoder: {
      encode: async () => {
        entered.resolve();
        await release.promise;
        return encoded;
      },
    },
  });
  const first = stack.raw("task=caption");
  await entered.promise;
  const refused = await stack.raw("task=caption");
  expect(refused.headers.get("retry-after")).toBe("1");
  expect(await problemOf(refused)).toMatchObject({ status: 429, code: "overloaded" });
  expect((await stack.get("/healthz")).status).toBe(200);
  release.resolve();
  expect((await first).status).toBe(200);
  expect((await stack.raw("task=caption", new Uint8Array([...image, ...image]))).status).toBe(200);
  expect(await problemOf(await stack.raw("task=caption", new Uint8Array(9)))).toMatchObject({
    status: 429,
    code: "overloaded",
  });
  expect((await stack.raw("task=caption")).status).toBe(200);
});

test("a stopping gateway finishes the call that is under way", async () => {
  const entered = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const stack = await startStack({
    env: { FLORENCE_DRAIN_MS: "10000" },
    encoder: {
      encode: async () => {
        entered.resolve();
        await release.promise;
        return encoded;
      },
    },
  });
  const answer = stack.json(call);
  await entered.promise;
  const stopped = stack[Symbol.asyncDispose]();
  await expect(stack.get("/healthz")).rejects.toThrow();
  release.resolve();
  expect((await answer).status).toBe(200);
  await stopped;
});
