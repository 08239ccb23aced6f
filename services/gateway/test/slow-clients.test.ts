import { once } from "node:events";
import { connect } from "node:net";
import { expect, test } from "vitest";
import { readBody } from "../src/http/body.ts";
import { data, startStack } from "./stack.ts";

const call = { image: { data }, tasks: [{ task: "caption" }] };
const length = 10_000_000;
const types = ["image/png", "application/json", "multipart/form-data; boundary=b"];

/** A request of `length` bytes, of which only the head is sent. */
const headOf = (type: string) =>
  `POST /v1/annotate${type.startsWith("image/") ? "?task=caption" : ""} HTTP/1.1\r\nhost: localhost\r\ncontent-type: ${type}\r\ncontent-length: ${length}\r\n\r\n`;

async function open(port: number) {
  const socket = connect(port, "127.0.0.1");
  socket.setEncoding("utf8");
  socket.on("error", () => {}); // Being cut off is what these clients are for.
  await once(socket, "connect");
  return socket;
}

test("a request too many is refused with Retry-After before its body has come, in every form", async () => {
  const entered = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  await using stack = await startStack({
    env: { FLORENCE_GATEWAY_REQUESTS_MAX: "1", FLORENCE_GATEWAY_QUEUE_MAX: "0" },
    decoder: {
      async *generate() {
        entered.resolve();
        await release.promise;
        yield { taskIndex: 0, event: { case: "problem", value: { code: "prompt_too_long", detail: "" } } };
      },
    },
  });
  const running = stack.json(call);
  await entered.promise;
  for (const type of types) {
    const socket = await open(stack.port);
    socket.write(headOf(type));
    const [answer] = (await once(socket, "data")) as [string];
    expect(answer).toMatch(/^HTTP\/1.1 429 /);
    expect(answer.toLowerCase()).toContain("retry-after: 1");
    socket.destroy();
  }
  const whole = await stack.raw("task=caption", new Uint8Array(length));
  expect(whole.status).toBe(429);
  release.resolve();
  expect((await running).status).toBe(200);
});

test("330 senders of one byte hold up nobody, whatever they send it for, and are cut off", async () => {
  await using stack = await startStack();
  for (const type of types) {
    const slow = await Promise.all(Array.from({ length: 330 }, () => open(stack.port)));
    const answers = slow.map((socket) => once(socket, "data"));
    for (const socket of slow) socket.write(`${headOf(type)}x`);
    for (let i = 0; i < 6; i++) expect((await stack.json(call)).status).toBe(200);
    for (const [answer] of (await Promise.all(answers)) as [string][]) expect(answer).toMatch(/^HTTP\/1.1 408 /);
  }
}, 30_000);

test("a sender who is slow holds no place, and is cut off long before the deadline", async () => {
  await using stack = await startStack({
    env: { FLORENCE_GATEWAY_REQUESTS_MAX: "1", FLORENCE_GATEWAY_QUEUE_MAX: "0" },
  });
  const socket = await open(stack.port);
  socket.write(headOf("multipart/form-data; boundary=b"));
  const drip = setInterval(() => socket.write("x"), 20);
  const ended = once(socket, "data");
  const closed = once(socket, "close");
  let answered = false;
  void ended.then(() => {
    answered = true;
  });
  expect((await stack.json(call)).status).toBe(200);
  expect(answered).toBe(false); // Others are served while it still sends.
  expect((await ended)[0]).toMatch(/^HTTP\/1.1 408 /);
  clearInterval(drip);
  await closed;
});

test("a slow sender who gets to the end is answered", async () => {
  await using stack = await startStack({
    env: {
      FLORENCE_GATEWAY_REQUESTS_MAX: "1",
      FLORENCE_GATEWAY_QUEUE_MAX: "0",
      FLORENCE_BODY_BYTES_PER_SECOND_MIN: "0",
    },
  });
  const socket = await open(stack.port);
  socket.write(headOf("image/png").replace(String(length), "2"));
  socket.write("x");
  expect((await stack.json(call)).status).toBe(200);
  socket.write("y");
  expect((await once(socket, "data"))[0]).toMatch(/^HTTP\/1.1 200 /);
  expect((await stack.json(call)).status).toBe(200);
  socket.destroy();
});

test("a thousand connections that say nothing leave room for others and are closed", async () => {
  await using stack = await startStack({ env: { FLORENCE_DEADLINE_MS: "2000" } });
  const idle = await Promise.all(Array.from({ length: 1000 }, () => open(stack.port)));
  const closed = idle.map((socket) => once(socket.resume(), "close"));
  expect((await stack.json(call)).status).toBe(200);
  await Promise.all(closed);
});

test("a body that comes a byte at a time is what was sent, and holds no more than its blocks", async () => {
  const sent = Uint8Array.from({ length: 200_000 }, (_, i) => i * 7);
  const limits = [1, 65_535, 65_536, 100_000, 200_000];
  for (const chunkBytes of limits) {
    let at = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (at >= sent.length) return controller.close();
        controller.enqueue(sent.slice(at, at + chunkBytes));
        at += chunkBytes;
      },
    });
    const request = new Request("http://x/", { method: "POST", body, duplex: "half" } as RequestInit);
    let taken = 0;
    const take = (bytes: number) => {
      taken += bytes;
    };
    const account = { take, [Symbol.dispose]() {} };
    const { signal } = new AbortController();
    const read = await readBody(request, sent.length, { account, signal, received: () => {} });
    expect(Buffer.compare(read, sent)).toBe(0);
    expect(taken).toBe(sent.length);
  }
});

test("an encoder may not take the time that the answers need", async () => {
  const deadlines: number[] = [];
  await using stack = await startStack({
    encoder: {
      encode: async (_request, { deadline }) => {
        deadlines.push(deadline ?? 0);
        return { key: "k", width: 10, height: 10, holder: "127.0.0.1:1", expiresAtMs: 0n };
      },
    },
    decoder: {
      async *generate(_request, { deadline }) {
        deadlines.push(deadline ?? 0);
        yield { taskIndex: 0, event: { case: "problem", value: { code: "prompt_too_long", detail: "" } } };
      },
    },
  });
  expect((await stack.json(call)).status).toBe(200);
  const [encode, decode] = deadlines as [number, number];
  expect(decode - encode).toBeGreaterThan(10_000); // A quarter of 60 s.
});
