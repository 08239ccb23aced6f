import { Fault } from "@florence/service";
import { afterEach, expect, test } from "vitest";
import { WorkerClient, type WorkerClientOptions } from "../src/index.ts";
import type { TestMethods } from "./fixtures/worker.ts";

const url = new URL("./fixtures/worker.ts", import.meta.url);
const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const client of open.splice(0)) await client[Symbol.asyncDispose]();
});

async function start(data: object = {}, options: Partial<WorkerClientOptions> = {}) {
  const client = await WorkerClient.start<TestMethods>(url, data, { name: "test", pendingMax: 4, ...options });
  open.push(client);
  return client;
}

test("buffers move to the worker and back, without a copy on either way", async () => {
  const client = await start();
  const values = Float32Array.of(1, 2, 3);
  const doubled = await client.call("double", values, { transfer: [values.buffer] });
  expect(values.length).toBe(0);
  expect([...doubled]).toEqual([2, 4, 6]);
});

test("events of a call come in order, before its result, and to that call alone", async () => {
  const client = await start();
  const events: unknown[][] = [[], []];
  const results = await Promise.all(
    [3, 5].map((to, index) => client.call("count", to, { onEvent: (event) => events[index]?.push(event) })),
  );
  expect(results).toEqual(["counted", "counted"]);
  expect(events).toEqual([
    [0, 1, 2],
    [0, 1, 2, 3, 4],
  ]);
});

test("errors cross with their code; the worker goes on", async () => {
  const client = await start();
  await expect(client.call("fail", "fault")).rejects.toMatchObject({
    name: "Fault",
    code: "prompt_too_long",
    detail: "Too long.",
    message: "inside",
    retryAfterS: 2,
  });
  await expect(client.call("fail", "region_invalid")).rejects.toMatchObject({ name: "Fault", code: "region_invalid" });
  await expect(client.call("fail", "ENOENT")).rejects.toMatchObject({ name: "TypeError", code: "ENOENT" });
  await expect(client.call("unclonable", undefined)).rejects.toThrow(/could not be cloned/);
  await expect(client.call("double", (() => {}) as never)).rejects.toThrow(/could not be cloned/);
  await expect(client.call("count", 0)).resolves.toBe("counted");
  expect(client.pending).toBe(0);
});

test("an abort rejects at once, reaches the worker and frees the call", async () => {
  const client = await start();
  const controller = new AbortController();
  const waiting = Promise.withResolvers<void>();
  const call = client.call("wait", null, { signal: controller.signal, onEvent: () => waiting.resolve() });
  await waiting.promise;
  controller.abort();
  await expect(call).rejects.toMatchObject({ code: "cancelled" });
  await client.call("count", 0); // The worker answers in order, so the cancelled call has been let go by now.
  expect(client.pending).toBe(0);
  await expect(client.call("count", 1, { signal: controller.signal })).rejects.toMatchObject({ code: "cancelled" });
});

test("calls under way are bounded, and a cancelled one counts until the worker lets go of it", async () => {
  const client = await start({}, { pendingMax: 1, closeMsMax: 100 });
  const controller = new AbortController();
  const call = client.call("deaf", null, { signal: controller.signal });
  controller.abort();
  await expect(call).rejects.toMatchObject({ code: "cancelled" });
  await expect(client.call("count", 1)).rejects.toMatchObject({ code: "overloaded", retryAfterS: 1 });
});

test("a crash fails every call as unavailable and is told to whoever watches", async () => {
  const client = await start();
  const calls = await Promise.allSettled([client.call("wait", null), client.call("crash", undefined)]);
  for (const call of calls) expect(call).toMatchObject({ status: "rejected", reason: { code: "unavailable" } });
  expect((await client.exited)?.message).toBe("the native library fell over");
  expect(client.alive).toBe(false);
  const late = await client.call("count", 1).catch((error: unknown) => error);
  expect(late).toMatchObject({ code: "unavailable" });
  expect((late as Fault).detail).not.toContain("native library");
});

test("a worker that cannot start rejects with its own error", async () => {
  await expect(start({ failWith: "checkpoint_file_missing" })).rejects.toMatchObject({
    code: "checkpoint_file_missing",
    message: "vision.onnx is missing",
  });
  const missing = new URL("../../service/test/fixtures/no-such-worker.ts", import.meta.url);
  await expect(WorkerClient.start(missing, {}, { name: "test", pendingMax: 1 })).rejects.toThrow(/no-such-worker/);
});

test("a worker that does not get ready is given up", async () => {
  await expect(start({ hang: true }, { startMsMax: 50 })).rejects.toMatchObject({ name: "TimeoutError" });
  const signal = AbortSignal.abort(new Fault("cancelled", "Stop."));
  await expect(WorkerClient.start(url, { hang: true }, { name: "test", pendingMax: 1, signal })).rejects.toMatchObject({
    code: "cancelled",
  });
});

test("closing aborts calls, releases what the worker holds and ends the thread", async () => {
  const disposed = new SharedArrayBuffer(4);
  const client = await start({ disposed });
  const call = client.call("wait", null).catch((error: unknown) => error);
  await client[Symbol.asyncDispose]();
  expect(await call).toMatchObject({ code: "unavailable" });
  expect(new Int32Array(disposed)[0]).toBe(1);
  expect(await client.exited).toBeUndefined();
  await expect(client.call("count", 1)).rejects.toMatchObject({ code: "unavailable" });
});

test("a worker that does not end is ended by force", async () => {
  const client = await start({}, { closeMsMax: 50 });
  const call = client.call("deaf", null).catch((error: unknown) => error);
  await client[Symbol.asyncDispose]();
  expect(await call).toMatchObject({ code: "unavailable" });
});
