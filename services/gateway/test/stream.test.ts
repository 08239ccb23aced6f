import { Fault } from "@florence/service";
import { expect, test } from "vitest";
import { data, digest, type Json, resultOf, startStack } from "./stack.ts";

async function eventsOf(response: Response): Promise<{ event: string; data: Json }[]> {
  expect(response.headers.get("content-type")).toBe("text/event-stream");
  const blocks = (await response.text()).split("\n\n").filter((block) => block !== "");
  return blocks.map((block) => {
    const [, event, json] = /^event: (.*)\ndata: (.*)$/.exec(block) ?? [];
    return { event: event ?? "", data: JSON.parse(json ?? "null") };
  });
}

test("a stream carries each task's events under its index and ends with done, which holds the rest of the answer", async () => {
  await using stack = await startStack();
  const response = await stack.json({ image: { data }, tasks: [{ task: "caption" }, { task: "<OD>" }], stream: true });
  const events = await eventsOf(response);
  expect(events.map(({ event, data: { index } }) => [event, index])).toEqual([
    ["started", 0],
    ["token", 0],
    ["result", 0],
    ["started", 1],
    ["token", 1],
    ["object", 1],
    ["result", 1],
    ["done", undefined],
  ]);
  expect(events[1]?.data).toEqual({ index: 0, id: 7, text: "caption", log_prob: -0.5 });
  expect(events[5]?.data).toEqual({ index: 1, label: "cat", score: 0.5, bbox: [1, 2, 3, 4] });
  expect(events[6]?.data).toMatchObject({ index: 1, task: "object_detection", finish_reason: "stop" });
  expect(events[7]?.data).toMatchObject({
    id: response.headers.get("x-request-id"),
    model: { digest },
    image: { width: 200, height: 100 },
    cache: { result: "miss" },
  });
  const whole = (await (
    await stack.json({ image: { data }, tasks: [{ task: "caption" }, { task: "<OD>" }] })
  ).json()) as Json;
  const results = events.filter(({ event }) => event === "result").map(({ data: { index: _, ...result } }) => result);
  expect(results).toEqual(whole.results);
});

test("Accept: text/event-stream and ?stream=true ask for a stream too", async () => {
  await using stack = await startStack();
  const accepting = await stack.json({ image: { data }, tasks: [{ task: "caption" }] }, "/v1/annotate", {
    headers: { accept: "text/event-stream" },
  });
  expect((await eventsOf(accepting)).at(-1)?.event).toBe("done");
  expect((await eventsOf(await stack.raw("task=caption&stream=true"))).at(-1)?.event).toBe("done");
});

test("in a stream too, a task's failure is its own and an aborted decoder ends the open tasks alone", async () => {
  await using stack = await startStack({
    decoder: {
      async *generate() {
        yield { taskIndex: 1, event: { case: "result", value: resultOf("ocr", "") } };
        throw new Fault("unavailable", "Shutting down.");
      },
    },
  });
  const region = { x1: 0, y1: 0, x2: 999, y2: 9 };
  const tasks = [{ task: "caption" }, { task: "ocr" }, { task: "region_ocr", region }];
  const events = await eventsOf(await stack.json({ image: { data }, tasks, stream: true }));
  expect(events.map(({ event, data: { index, error } }) => [event, index, error?.code])).toEqual([
    ["result", 1, undefined],
    ["error", 0, "unavailable"],
    ["error", 2, "region_invalid"],
    ["done", undefined, undefined],
  ]);
});

test("a call that fails as a whole after its first event ends with an error that has no index", async () => {
  await using stack = await startStack({
    decoder: {
      async *generate() {
        yield { taskIndex: 0, event: { case: "started", value: { promptTokens: 3 } } };
        throw new Fault("unavailable", "Shutting down.");
      },
    },
  });
  const events = await eventsOf(await stack.json({ image: { data }, tasks: [{ task: "caption" }], stream: true }));
  expect(events.map(({ event }) => event)).toEqual(["started", "error"]);
  expect(events[1]?.data).toEqual({ error: expect.objectContaining({ code: "unavailable", status: 503 }) });
});

test("a client that goes away cancels its call at the decoder, before or during the stream", async () => {
  for (const firstEvent of [false, true]) {
    const running = Promise.withResolvers<void>();
    const cancelled = Promise.withResolvers<void>();
    await using stack = await startStack({
      decoder: {
        async *generate(_request, { signal }) {
          if (firstEvent) yield { taskIndex: 0, event: { case: "started", value: { promptTokens: 3 } } };
          running.resolve();
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          cancelled.resolve();
        },
      },
    });
    const client = new AbortController();
    const response = stack.json({ image: { data }, tasks: [{ task: "caption" }], stream: true }, "/v1/annotate", {
      signal: client.signal,
    });
    response.catch(() => {}); // The abort below.
    await running.promise;
    if (firstEvent) await response;
    client.abort();
    await cancelled.promise;
  }
});

test("a reader that takes nothing holds back the decoder, and loses its place when the deadline has passed", async () => {
  let sent = 0;
  const cancelled = Promise.withResolvers<void>();
  await using stack = await startStack({
    env: { FLORENCE_DEADLINE_MS: "1500", FLORENCE_GATEWAY_REQUESTS_MAX: "1", FLORENCE_GATEWAY_QUEUE_MAX: "0" },
    decoder: {
      async *generate(_request, { signal }) {
        signal.addEventListener("abort", () => cancelled.resolve());
        for (;;) {
          sent++;
          yield { taskIndex: 0, event: { case: "token", value: { id: 1, text: "x".repeat(10_000), logProb: 0 } } };
        }
      },
    },
  });
  const unread = await stack.json({ image: { data }, tasks: [{ task: "caption" }], stream: true });
  await cancelled.promise;
  // 10 kB each: sockets and windows hold some MiB, nothing holds all that 1.5 s could produce.
  expect(sent).toBeLessThan(5000);
  // The place is free again once the reader has been cut off.
  for (let free = false; !free; ) {
    const response = await stack.json({ image: { data }, tasks: [{ task: "nothing" }] });
    free = response.status === 400;
    await response.body?.cancel();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await expect(unread.text()).rejects.toThrow();
});
