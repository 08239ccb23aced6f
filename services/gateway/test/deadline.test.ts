import { create } from "@bufbuild/protobuf";
import { GenerateResponseSchema } from "@florence/proto/decoder";
import { EncodeResponseSchema } from "@florence/proto/encoder";
import { ModelSchema } from "@florence/proto/model";
import { createEvents } from "@florence/service";
import { describe, expect, test } from "vitest";
import { createGateway, type GatewayParts } from "../src/app.ts";
import { gatewayEvents } from "../src/events.ts";
import { admitted, createEntrance, type Work } from "../src/http/admitted.ts";
import { json } from "../src/http/json.ts";
import { defaultLimits } from "../src/limits.ts";
import { data, image, type Json, problemOf, resultOf } from "./stack.ts";

const forever = new Promise<never>(() => {});
const limits = { deadlineMs: 300, requestsMax: 1, queueMax: 0, heldBytesMax: 120 };
const encoded = create(EncodeResponseSchema, { key: "k", width: 10, height: 10, holder: "127.0.0.1:1" });
const model = create(ModelSchema, { name: "scripted", digest: "d" });
const result = (taskIndex: number) =>
  create(GenerateResponseSchema, { taskIndex, event: { case: "result", value: resultOf("ocr", "") } });

/** Parts of which everything answers at once. */
const parts: GatewayParts = {
  limits,
  events: createEvents(gatewayEvents),
  encoder: { encode: async () => encoded },
  decoder: {
    async *generate(request) {
      for (const index of (request.tasks ?? []).keys()) yield result(index);
    },
  },
  models: {
    get: async () => ({ encoder: model, decoder: model }),
    known: async () => ({ encoder: model, decoder: model }),
  },
  fetchUrl: async () => image,
};

/** A callee that never settles the first time and answers from then on. */
function once<A extends unknown[], T>(stuck: () => T, sound: (...args: A) => T): (...args: A) => T {
  let first = true;
  return (...args) => {
    const stuckNow = first;
    first = false;
    return stuckNow ? stuck() : sound(...args);
  };
}

const generate = parts.decoder.generate;
const { get, known } = parts.models;
const stuckParts: Record<string, Partial<GatewayParts>> = {
  "an encoder": { encoder: { encode: once(() => forever, parts.encoder.encode) } },
  "the model's description": { models: { get, known: once(() => forever, known) } },
  "a URL's server": {
    fetchUrl: once(
      () => forever,
      async () => image,
    ),
  },
  "a decoder, before its first event": {
    decoder: {
      generate: once(async function* () {
        yield await forever;
      }, generate),
    },
  },
  "a decoder that does not even end": {
    decoder: {
      generate: once(
        (): ReturnType<typeof generate> => ({
          [Symbol.asyncIterator]: () => ({ next: () => forever, return: () => forever }),
        }),
        generate,
      ),
    },
  },
};

const post = (body: unknown) =>
  new Request("http://localhost/v1/annotate", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
const call = (what: string, more = {}) =>
  post({ image: what === "a URL's server" ? { url: "https://x.test/" } : { data }, tasks: [{ task: "ocr" }], ...more });

describe.each(Object.entries(stuckParts))("where %s never settles", (what, stuck) => {
  test("the call is 504, and the only place and the bytes are the next one's", async () => {
    const gateway = createGateway({ ...parts, ...stuck });
    expect(await problemOf(await gateway.fetch(call(what)))).toMatchObject({ status: 504, code: "deadline_exceeded" });
    expect((await gateway.fetch(call(what))).status).toBe(200);
  });
});

describe.each([false, true])("where a decoder never settles after its first task, stream: %s", (stream) => {
  test("that task is answered, the other ends with the deadline, and the place is the next one's", async () => {
    const decoder = {
      generate: once(async function* () {
        yield result(0);
        yield await forever;
      }, generate),
    };
    const gateway = createGateway({ ...parts, decoder });
    const asked = await gateway.fetch(call("", { tasks: [{ task: "ocr" }, { task: "caption" }], stream }));
    expect(asked.status).toBe(200);
    const text = await asked.text();
    expect(text).toContain("deadline_exceeded");
    expect(text).toContain('"answer"');
    expect((await gateway.fetch(call(""))).status).toBe(200);
  });
});

test("where a body never comes, nor ends when it is cancelled, the call is 504 and others are served meanwhile", async () => {
  const gateway = createGateway({ ...parts, limits: { ...limits, bodyBytesPerSecondMin: 0 } });
  for (const type of ["image/png", "application/json", "multipart/form-data; boundary=b"]) {
    const body = new ReadableStream({ pull: () => forever, cancel: () => forever });
    const query = type.startsWith("image/") ? "?task=ocr" : "";
    const asked = gateway.fetch(
      new Request(`http://localhost/v1/annotate${query}`, {
        method: "POST",
        headers: { "content-type": type },
        body,
        duplex: "half",
      } as RequestInit),
    );
    expect((await gateway.fetch(call(""))).status).toBe(200);
    expect(await problemOf(await asked)).toMatchObject({ status: 504, code: "deadline_exceeded" });
  }
});

test("whatever a dialect's own reading and handling wait for, its place, upload and bytes come back", async () => {
  const { events } = parts;
  const entrance = createEntrance({ ...defaultLimits, ...limits }, events);
  const works: Record<string, Work<string>> = {
    reading: {
      read: (_request, { account }) => {
        account.take(100);
        return forever;
      },
      isLight: () => false,
      handle: async () => json({}),
    },
    handling: {
      read: async (_request, { account }) => {
        account.take(100);
        return "";
      },
      isLight: () => false,
      handle: () => forever,
    },
  };
  for (const [what, work] of Object.entries(works)) {
    const request = new Request("http://localhost/");
    await expect(admitted(entrance, { request, requestId: "r", caller: "p" }, work), what).rejects.toEqual(
      expect.objectContaining({ name: "TimeoutError" }),
    );
    const { places, uploads, heldBytes } = entrance;
    expect({ places: places.running, uploads: uploads.size, bytes: heldBytes.held }).toEqual({
      places: 0,
      uploads: 0,
      bytes: 0,
    });
  }
});

test("what a call that was given up still reads is nobody's, and nothing is counted twice", async () => {
  const { events } = parts;
  const entrance = createEntrance({ ...defaultLimits, ...limits, deadlineMs: 1 }, events);
  const late = Promise.withResolvers<void>();
  const taken = Promise.withResolvers<void>();
  const work: Work<string> = {
    async read(_request, { account }) {
      account.take(2);
      await late.promise;
      account.take(2);
      taken.resolve();
      return "";
    },
    isLight: () => false,
    handle: async () => json({}),
  };
  const request = new Request("http://localhost/");
  await expect(admitted(entrance, { request, requestId: "r", caller: "p" }, work)).rejects.toThrow();
  late.resolve();
  await taken.promise;
  expect(entrance.heldBytes.held).toBe(0);
  expect(entrance.places.running).toBe(0);
});

test("probes and the list of models answer though nobody else does", async () => {
  const silent = { get: () => forever, known: () => forever };
  const gateway = createGateway({ ...parts, models: silent });
  const asked = ["/readyz", "/v1/models"].map((path) => gateway.fetch(new Request(`http://localhost${path}`)));
  expect((await gateway.fetch(new Request("http://localhost/healthz"))).status).toBe(200);
  for (const answer of asked) expect((await problemOf(await answer)).status).toBe(504);
}, 10_000);

test("a decoder that sends events without end is given up", async () => {
  const started = create(GenerateResponseSchema, { event: { case: "started", value: { promptTokens: 1 } } });
  const decoder = {
    async *generate() {
      for (;;) yield started;
    },
  };
  const gateway = createGateway({ ...parts, decoder, limits: { ...limits, deadlineMs: 10_000 } });
  const answer = (await (await gateway.fetch(call(""))).json()) as Json;
  expect(answer).toMatchObject({ status: 503, code: "unavailable" });
});
