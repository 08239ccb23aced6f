import { connect } from "node:http2";
import { create } from "@bufbuild/protobuf";
import { Decoder, type GenerateResponse } from "@florence/proto/decoder";
import { EncodeResponseSchema, Encoder } from "@florence/proto/encoder";
import { type CallContext, type Client, createEvents, Fault, type Handlers } from "@florence/service";
import { afterEach, expect, test } from "vitest";
import { type CallEvents, callEvents, createClient, implement, type RunningServer, startServer } from "../src/index.ts";

const open: Array<AsyncDisposable | Disposable> = [];
afterEach(async () => {
  for (const resource of open.splice(0).reverse()) {
    if (Symbol.asyncDispose in resource) await resource[Symbol.asyncDispose]();
    else resource[Symbol.dispose]();
  }
});

const model = async () => ({});

async function encoder(
  handlers: Partial<Handlers<typeof Encoder>>,
  options: { messageBytesMax?: number; events?: CallEvents } = {},
): Promise<{ server: RunningServer; client: Client<typeof Encoder> }> {
  const services = [implement(Encoder, { encode: model, getEmbedding: model, getEncoderModel: model, ...handlers })];
  const server = await startServer({ host: "127.0.0.1", port: 0, services, drainMs: 500, ...options });
  const client = createClient(Encoder, server.address);
  open.push(server, client);
  return { server, client };
}

async function decoder(generate: Handlers<typeof Decoder>["generate"]) {
  const services = [implement(Decoder, { generate, getDecoderModel: model })];
  const server = await startServer({ host: "127.0.0.1", port: 0, services, drainMs: 500 });
  const client = createClient(Decoder, server.address);
  open.push(server, client);
  return { server, client };
}

function token(id: number) {
  return { event: { case: "token" as const, value: { id, text: "x".repeat(1000) } } };
}

test("a unary call carries a 16 MiB image, metadata and the deadline, and answers with a message", async () => {
  let context: CallContext | undefined;
  const { client } = await encoder({
    encode: async (request, seen) => {
      context = seen;
      return { key: "k", width: request.image.length, height: request.image[123] ?? 0, expiresAtMs: 5n };
    },
  });
  const image = new Uint8Array(16 * 1024 * 1024).fill(7);
  const before = performance.now();
  const response = await client.encode({ image }, { deadlineMs: 20_000, metadata: { "x-request-id": "r1" } });
  expect(response).toEqual(create(EncodeResponseSchema, { key: "k", width: image.length, height: 7, expiresAtMs: 5n }));
  expect(context?.metadata["x-request-id"]).toBe("r1");
  expect(context?.peer).toMatch(/^127\.0\.0\.1:/);
  expect(context?.deadline).toBeGreaterThanOrEqual(before);
  expect(context?.deadline).toBeLessThanOrEqual(performance.now() + 20_000);
});

test("a bytes field arrives whole at any alignment", async () => {
  const { client } = await encoder({
    getEmbedding: async ({ key }) => ({ value: Uint8Array.from({ length: Number(key) }, (_, index) => index % 251) }),
  });
  for (const length of [0, 1, 2, 3, 4, 5, 127, 128, 129, 130, 70_001]) {
    const { value } = await client.getEmbedding({ key: String(length) });
    expect(value.length).toBe(length);
    expect(value.every((byte, index) => byte === index % 251)).toBe(true);
  }
});

test("a thrown Fault reaches the client with code, detail and retry hint, and the server's log whole", async () => {
  const reports: [kind: string, method: string, message: string][] = [];
  const report = (kind: string) => (about: { method: string; fault: Fault }) => {
    reports.push([kind, about.method, about.fault.message]);
  };
  const answered: string[] = [];
  const events = createEvents(callEvents, [
    { callRefused: report("refused"), callFailed: report("failed") },
    { callAnswered: ({ method }) => void answered.push(method) },
  ]);
  const { client } = await encoder(
    {
      encode: async () => {
        throw new Fault("overloaded", "At capacity: 100 % ä", { internal: "queue 7 full", retryAfterS: 4 });
      },
      getEmbedding: async () => {
        throw new Error("secret path");
      },
    },
    { events },
  );
  await expect(client.encode({})).rejects.toMatchObject({
    name: "Fault",
    code: "overloaded",
    detail: "At capacity: 100 % ä",
    retryAfterS: 4,
  });
  const error = await client.getEmbedding({}).catch((caught: unknown) => caught);
  expect(error).toMatchObject({ code: "internal" });
  expect(String((error as Fault).cause)).not.toContain("secret path");
  await client.getEncoderModel({});
  expect(reports).toEqual([
    ["refused", "florence.v1.Encoder.Encode", "queue 7 full"],
    ["failed", "florence.v1.Encoder.GetEmbedding", "secret path"],
  ]);
  expect(answered).toEqual(["florence.v1.Encoder.GetEncoderModel"]);
});

test("a message over the limit fails its call and no other", async () => {
  const getEmbedding = async () => ({ value: new Uint8Array(5000) });
  const { client, server } = await encoder(
    { encode: async () => ({ key: "ok" }), getEmbedding },
    { messageBytesMax: 1000 },
  );
  await expect(client.encode({ image: new Uint8Array(2000) })).rejects.toMatchObject({ code: "body_invalid" });
  await expect(client.encode({ image: new Uint8Array(500) })).resolves.toMatchObject({ key: "ok" });
  const modest = createClient(Encoder, server.address, { messageBytesMax: 1000 });
  open.push(modest);
  await expect(modest.encode({ image: new Uint8Array(2000) })).rejects.toMatchObject({ code: "body_invalid" });
  // An answer that is too large is not the caller's fault.
  await expect(modest.getEmbedding({})).rejects.toMatchObject({ code: "internal" });
  await expect(modest.encode({ image: new Uint8Array(500) })).resolves.toMatchObject({ key: "ok" });
});

test("a passed deadline fails the call and aborts the handler with that reason", async () => {
  const aborted = Promise.withResolvers<Fault>();
  const { client } = await encoder({
    encode: (_request, { signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          aborted.resolve(signal.reason);
          reject(signal.reason);
        });
      }),
  });
  await expect(client.encode({}, { deadlineMs: 50 })).rejects.toMatchObject({ code: "deadline_exceeded" });
  // The client's cancellation and the server's own timer race; either way it is a Fault.
  expect(["deadline_exceeded", "cancelled"]).toContain((await aborted.promise).code);
});

test("an aborted unary call rejects with the signal's reason and aborts the handler", async () => {
  const started = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<Fault>();
  const { client } = await encoder({
    encode: (_request, { signal }) =>
      new Promise((_, reject) => {
        started.resolve();
        signal.addEventListener("abort", () => {
          aborted.resolve(signal.reason);
          reject(signal.reason);
        });
      }),
  });
  const controller = new AbortController();
  const call = client.encode({}, { signal: controller.signal });
  await started.promise;
  controller.abort(new Fault("rate_limited", "Enough."));
  await expect(call).rejects.toMatchObject({ code: "rate_limited" });
  expect((await aborted.promise).code).toBe("cancelled");
  await expect(client.encode({}, { signal: controller.signal })).rejects.toMatchObject({ code: "rate_limited" });
});

test("a call that fails is not made again: whoever calls has the policy", async () => {
  let attempts = 0;
  const { client } = await encoder({
    getEmbedding: async () => {
      attempts++;
      throw new Fault("unavailable", "Not yet.");
    },
  });
  await expect(client.getEmbedding({})).rejects.toMatchObject({ code: "unavailable" });
  expect(attempts).toBe(1);
});

test("a service that does not listen is unavailable at once", async () => {
  const { server, client } = await encoder({});
  await server[Symbol.asyncDispose]();
  await expect(client.encode({})).rejects.toMatchObject({ code: "unavailable" });
});

test("a stream arrives in order and ends", async () => {
  const { client } = await decoder(async function* () {
    for (let id = 0; id < 500; id++) yield token(id);
  });
  const ids: number[] = [];
  for await (const response of client.generate({})) {
    if (response.event.case === "token") ids.push(response.event.value.id);
  }
  expect(ids).toEqual(Array.from({ length: 500 }, (_, id) => id));
});

test("what a stream sent before it failed arrives before the failure", async () => {
  const { client } = await decoder(async function* () {
    for (let id = 0; id < 3; id++) yield token(id);
    // Gives the client the time to read, so that the order is what is tested.
    await new Promise((resolve) => setTimeout(resolve, 50));
    throw new Fault("embedding_evicted", "Send the image again.");
  });
  const seen: GenerateResponse[] = [];
  const reading = (async () => {
    for await (const response of client.generate({})) seen.push(response);
  })();
  await expect(reading).rejects.toMatchObject({ code: "embedding_evicted", detail: "Send the image again." });
  expect(seen).toHaveLength(3);
});

test("leaving a stream early cancels the call and closes the handler's iterator", async () => {
  const closed = Promise.withResolvers<string>();
  const { client } = await decoder(async function* (_request, { signal }) {
    try {
      for (let id = 0; ; id++) {
        yield token(id);
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      closed.resolve((signal.reason as Fault | undefined)?.code ?? "not aborted");
    }
  });
  for await (const response of client.generate({})) {
    if (response.event.case === "token" && response.event.value.id === 2) break;
  }
  expect(await closed.promise).toBe("cancelled");
});

test("returning while a message is awaited ends the wait", async () => {
  const aborted = Promise.withResolvers<void>();
  const { client } = await decoder(async function* (_request, { signal }) {
    yield token(0);
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    aborted.resolve();
  });
  const iterator = client.generate({})[Symbol.asyncIterator]();
  await iterator.next();
  const waiting = iterator.next();
  await iterator.return?.();
  expect((await waiting).done).toBe(true);
  await aborted.promise;
});

test("a client that stops reading stops the handler, and the deadline then frees it", async () => {
  let produced = 0;
  const closed = Promise.withResolvers<void>();
  const { client } = await decoder(async function* () {
    try {
      for (; produced < 1_000_000; produced++) yield token(produced);
    } finally {
      closed.resolve();
    }
  });
  const iterator = client.generate({}, { deadlineMs: 1_000 })[Symbol.asyncIterator]();
  await iterator.next();
  await closed.promise;
  // 16 messages on each side and the 1 MiB window of 1 KB messages, not the million that were on offer.
  expect(produced).toBeLessThan(10_000);
  await expect(
    (async () => {
      for (;;) if ((await iterator.next()).done) throw new Error("ended without its failure");
    })(),
  ).rejects.toMatchObject({ code: "deadline_exceeded" });
});

test("a client that neither reads nor cancels loses its call at the deadline", async () => {
  const closed = Promise.withResolvers<string | undefined>();
  const { server } = await decoder(async function* (_request, { signal }) {
    try {
      for (let id = 0; ; id++) yield token(id);
    } finally {
      closed.resolve((signal.reason as Fault | undefined)?.code);
    }
  });
  const session = connect(`http://${server.address}`);
  const stream = session.request({
    ":method": "POST",
    ":path": "/florence.v1.Decoder/Generate",
    "content-type": "application/grpc",
    te: "trailers",
    "grpc-timeout": "300m",
  });
  stream.on("error", () => {});
  stream.end(Buffer.alloc(5)); // One empty message: a length prefix of zero.
  expect(await closed.promise).toBe("deadline_exceeded");
  session.destroy();
});

test("a stream that fails before anyone asks for its messages still throws", async () => {
  const { server, client } = await decoder(async function* () {});
  await server[Symbol.asyncDispose]();
  const iterator = client.generate({})[Symbol.asyncIterator]();
  // Long enough for the refusal to arrive unasked; if it came later, the guarantee would hold all the more.
  await new Promise((resolve) => setTimeout(resolve, 100));
  await expect(iterator.next()).rejects.toMatchObject({ code: "unavailable" });
});

test("several addresses share the calls", async () => {
  const counts = [0, 0];
  const addresses: string[] = [];
  for (const index of [0, 1]) {
    const { server } = await encoder({
      encode: async () => {
        counts[index] = (counts[index] ?? 0) + 1;
        return {};
      },
    });
    addresses.push(server.address);
  }
  const client = createClient(Encoder, addresses);
  open.push(client);
  for (let call = 0; call < 20; call++) await client.encode({});
  expect(Math.min(...counts)).toBeGreaterThan(0);
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(20);
  expect(() => createClient(Encoder, ["encoder-0:1", "encoder-1:1"])).toThrow(/all be IPv4/);
  expect(() => createClient(Encoder, "http://encoder:1")).toThrow(/host:port/);
});

test("a stopping server lets a call finish, and cuts one that does not", async () => {
  const started = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const { server, client } = await encoder({
    encode: async () => {
      started.resolve();
      await release.promise;
      return { key: "finished" };
    },
  });
  const call = client.encode({});
  await started.promise;
  const stopped = server[Symbol.asyncDispose]();
  release.resolve();
  expect((await call).key).toBe("finished");
  await stopped;

  const stuck = Promise.withResolvers<void>();
  const other = await encoder({
    encode: () => {
      stuck.resolve();
      return new Promise(() => {});
    },
  });
  const lost = other.client.encode({}).catch((error: unknown) => error);
  await stuck.promise;
  await other.server[Symbol.asyncDispose]();
  expect(await lost).toBeInstanceOf(Fault);
});
